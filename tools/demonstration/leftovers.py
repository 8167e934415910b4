"""What a run leaves behind on the machine: processes and files outside its state folder. Nothing, it should be."""

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

import psutil

_WATCHED = (Path("/tmp"), Path("/dev/shm"))  # noqa: S108 - looked at, not written to


@dataclass(frozen=True)
class Trace:
    """Names of files in the shared temporary folders, by folder."""

    files: frozenset[str]


def look() -> Trace:
    """Remember what is there now."""
    return Trace(frozenset(str(path) for folder in _WATCHED if folder.is_dir() for path in folder.iterdir()))


def left_behind(before: Trace, state: Path) -> list[str]:
    """Return what exists now because of us: processes that name the state folder, and new files that are ours."""
    processes = [f"process {pid}: {command[:100]}" for pid, command in _processes(state)]
    new = sorted(look().files - before.files)
    files = [f"file {path}" for path in new if _is_ours(Path(path))]
    return processes + files


def _is_ours(path: Path) -> bool:
    """Only names that engines, Ray, Envoy and the box use: other programs of this machine may write there too."""
    prefixes = ("manta-", "ray", "psm_", "sem.", "torch_", "vllm", "plasma", "envoy", "osrcp-", "__KMP")
    try:
        return path.name.startswith(prefixes) and path.stat().st_uid == os.getuid()
    except FileNotFoundError:
        return False


def _processes(state: Path) -> list[tuple[int, str]]:
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            command = " ".join(process.cmdline())
            environment = process.environ()
            mentions = f"{state}/" in command or any(f"{state}/" in value for value in environment.values())
            if mentions and process.pid != os.getpid():
                found.append((process.pid, command))
    return found
