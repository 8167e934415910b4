"""The processes of a pod by what they are; what must be gone when its group has restarted.

All of a pod's processes descend from the shims of its containers, also those that Ray and vLLM put into sessions of
their own: the launcher adopts orphans, and the shim does when the launcher is gone.
"""

import contextlib
from collections.abc import Callable, Iterable, Sequence

import psutil
from traffic.world import Stuck

from faults.catalogue import What

_GONE = (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)


def _is(word: str) -> Callable[[str, str], bool]:
    return lambda _name, command: word in command


_KINDS: dict[What, Callable[[str, str], bool]] = {
    "launcher": lambda _name, command: "manta-runtime engine " in command and "shim.py" not in command,
    "raylet": lambda name, _command: name == "raylet",
    "gcs": lambda name, _command: name == "gcs_server",
    "core": _is("VLLM::EngineCore"),
    "api": _is("vllm.entrypoints.openai.api_server"),
    "rank": _is("ray::RayWorkerProc"),
    "operator": lambda _name, command: "manta_operator.cli operator " in command and "shim.py" not in command,
}


def below(root: psutil.Process) -> list[psutil.Process]:
    """Return all living descendants of a process."""
    with contextlib.suppress(psutil.Error):
        return root.children(recursive=True)
    return []


def of_pod(box: psutil.Process, address: str) -> list[psutil.Process]:
    """Return the processes of the engine pod with this IP address: launchers with all that is below them."""
    found: list[psutil.Process] = []
    for shim in box.children():
        if f"--pod-ip={address} " in command_of(shim) and "shim.py" in command_of(shim):
            found += below(shim)
    return found


def find(processes: Iterable[psutil.Process], what: What) -> psutil.Process:
    """Return the one of these processes that is `what`. Raises Stuck if there is none."""
    for process in processes:
        with contextlib.suppress(psutil.Error):
            if _KINDS[what](process.name(), command_of(process)):
                return process
    raise Stuck(f"there is no {what} process")


def freeze(processes: Sequence[psutil.Process]) -> None:
    """SIGSTOP all of them."""
    for process in processes:
        with contextlib.suppress(psutil.Error):
            process.suspend()


def alive(processes: Iterable[psutil.Process]) -> list[psutil.Process]:
    """Return those that still live; psutil tells a reused id from the process it had."""
    found = []
    for process in processes:
        with contextlib.suppress(psutil.Error):
            if process.is_running() and process.status() not in _GONE:
                found.append(process)
    return found


def orphans(box: psutil.Process) -> list[psutil.Process]:
    """Return what the box has adopted: children of it that are no shims."""
    return [child for child in alive(box.children()) if "shim.py" not in command_of(child)]


def describe(process: psutil.Process) -> str:
    """Say which process it is."""
    return f"{process.pid} {command_of(process)[:120]}"


def command_of(process: psutil.Process) -> str:
    """Return the command line, "" when it is gone."""
    with contextlib.suppress(psutil.Error):
        return " ".join(process.cmdline())
    return ""
