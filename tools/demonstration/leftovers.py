"""What a run leaves behind on the machine: processes and files outside its state folder. Nothing, it should be.

Other programs, and other copies of the demo, may be running: only what is ours, or is new and nobody's, counts.
"""

import contextlib
import os
import tempfile
from pathlib import Path

import psutil

from manta_operator.box.kubelet.reaper import MARKER
from manta_operator.box.kubelet.shim import shared_memory
from manta_operator.box.state import BoxState

_SHARED = Path("/dev/shm")  # noqa: S108 - looked at, not written to
_ENGINES = ("psm_", "sem.", "torch_", "vllm", "plasma")  # names that Python, torch, vLLM and Ray give


def shared_now() -> frozenset[str]:
    """Return the names of the shared memory that exists now."""
    return frozenset(str(path) for path in _SHARED.iterdir()) if _SHARED.is_dir() else frozenset()


def left_behind(before: frozenset[str], folder: Path, box: BoxState) -> list[str]:
    """Return what is left of a box that has ended: processes, its folder of sockets, shared memory without a user."""
    found = [f"process {pid}: {command[:100]}" for pid, command in _processes(folder)]
    sockets = Path(tempfile.gettempdir()) / f"manta-{os.getuid()}-{box.number}"
    if sockets.exists():
        found.append(f"folder {sockets}")
    in_use = shared_memory(psutil.pids())
    orphans = [name for name in shared_now() - before - in_use if _of_an_engine(Path(name))]
    return found + [f"shared memory {name}" for name in sorted(orphans)]


def _of_an_engine(path: Path) -> bool:
    try:
        ours = path.stat().st_uid == os.getuid()
    except FileNotFoundError:
        return False
    return ours and (path.name.startswith(_ENGINES) or "cpushm" in path.name)


def _processes(folder: Path) -> list[tuple[int, str]]:
    """Return the box's own processes: a user's kubectl with our kubeconfig in its environment is not one."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            environment = process.environ()
            if MARKER in environment and any(f"{folder}/" in value for value in environment.values()):
                found.append((process.pid, " ".join(process.cmdline())))
    return found
