"""Finding and killing what a container left behind when its shim itself was killed.

`manta up` makes itself a subreaper, so that such orphans become its children; every process of a container is
recognised by the marker in its environment, which children inherit.
"""

import contextlib
import ctypes
import os
import signal
import time
from pathlib import Path

from manta_operator.box.kubelet.shim import descendants, remove_shared_memory, shared_memory

MARKER = "MANTA_CONTAINER_ID"
_PR_SET_CHILD_SUBREAPER = 36
_POLL_SECONDS = 0.02


def become_subreaper() -> None:
    """Make this process the one that orphans below it are handed to; OSError if the kernel refuses."""
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"prctl(PR_SET_CHILD_SUBREAPER): {os.strerror(error)}")


def marked(marker: str, value: str) -> list[int]:
    """Live processes of this user whose environment holds `marker=value`, and all that descend from them."""
    needle = f"{marker}={value}".encode()
    found: list[int] = []
    for entry in os.listdir("/proc"):  # noqa: PTH208  (pathlib would double the time of a scan)
        if entry.isdigit() and int(entry) != os.getpid():
            with contextlib.suppress(OSError):
                if needle in Path("/proc", entry, "environ").read_bytes().split(b"\0"):
                    found.append(int(entry))
    below = [pid for root in found for pid in descendants(root)]
    return list(dict.fromkeys(found + below))


def kill_marked(marker: str, value: str, *, seconds: float = 5.0) -> bool:
    """SIGKILL all processes marked so until none is left; False if some still live after `seconds`. Blocks.

    What they have in /dev/shm goes with them, as when their shim ends them.
    """
    deadline = time.monotonic() + seconds
    shared: set[str] = set()
    while pids := marked(marker, value):
        shared |= shared_memory(pids)
        for pid in pids:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_SECONDS)
        _reap(pids)
    remove_shared_memory(shared)
    return True


def _reap(pids: list[int]) -> None:
    """Collect those that are ours by adoption. One by one: waiting for any child would steal other people's."""
    for pid in pids:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)
