"""The box's state folder: what a running box writes down about itself, and how others find it and end it.

box.json     number, process, kubeconfig; there while the box runs
kubeconfig   for kubectl and everything else, only readable by its owner
hosts        the names of Services and pods
logs/        of the box, the operator and every container; they stay
pods/        volumes of running pods
claims/      contents of PersistentVolumeClaims, while the box runs
scratch/     of the box itself
lock         held by the box as long as it lives
"""

import fcntl
import json
import os
import shutil
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import psutil
import yaml

_POLL_SECONDS = 0.2


@dataclass(frozen=True)
class BoxState:
    """A box that runs: `created` is its process's start time, which tells it from a later process with its number."""

    number: int
    pid: int
    created: float
    kubeconfig: Path

    @property
    def alive(self) -> bool:
        """Whether that very process still runs."""
        try:
            process = psutil.Process(self.pid)
            return abs(process.create_time() - self.created) < 1 and process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False


def read_state(folder: Path) -> BoxState | None:
    """Return the box that runs in this state folder; None if there is none, or only what a killed one left."""
    try:
        written = json.loads((folder / "box.json").read_text())
        found = BoxState(written["number"], written["pid"], written["created"], Path(written["kubeconfig"]))
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None
    return found if found.alive else None


def write_state(folder: Path, number: int) -> BoxState:
    """Write down that this process is the box of the folder."""
    pid = os.getpid()
    state = BoxState(number, pid, psutil.Process(pid).create_time(), folder / "kubeconfig")
    text = json.dumps(
        {"number": number, "pid": pid, "created": state.created, "kubeconfig": str(state.kubeconfig)}, indent=2
    )
    (folder / "box.json").write_text(text + "\n")
    return state


def lock(folder: Path) -> int | None:
    """Make the folder ours until the returned descriptor is closed or this process ends; None if it is another's."""
    descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def write_kubeconfig(folder: Path, url: str, certificate: str, token: str, namespace: str = "default") -> Path:
    """Write the kubeconfig with the CA's certificate (PEM) and the token; returns its path."""
    (folder / "ca.pem").write_text(certificate)
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "box", "cluster": {"server": url, "certificate-authority": str(folder / "ca.pem")}}],
        "users": [{"name": "box", "user": {"token": token}}],
        "contexts": [{"name": "box", "context": {"cluster": "box", "user": "box", "namespace": namespace}}],
        "current-context": "box",
    }
    path = folder / "kubeconfig"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        yaml.safe_dump(document, file, sort_keys=False)
    return path


def clear(folder: Path) -> None:
    """Remove everything but the logs: at the end of a box, and after one that was killed."""
    for name in ("box.json", "kubeconfig", "ca.pem", "hosts"):
        (folder / name).unlink(missing_ok=True)
    for name in ("pods", "claims", "scratch"):
        shutil.rmtree(folder / name, ignore_errors=True)


def make_folders(folder: Path) -> None:
    """Make the folders below, readable by this user alone: Secrets and tokens come to lie in them, and in logs."""
    for name in ("logs", "pods", "claims", "scratch"):
        (folder / name).mkdir(mode=0o700, exist_ok=True)
        (folder / name).chmod(0o700)  # logs may be there from before


def end(state: BoxState, seconds: float) -> bool:
    """Ask the box to end and wait; False if it still runs after `seconds`."""
    deadline = time.monotonic() + seconds
    if state.alive:
        os.kill(state.pid, signal.SIGTERM)
    while state.alive:
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_SECONDS)
    return True
