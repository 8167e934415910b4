"""Looks at the machine before anything is installed: Python, disk, processor, compiler."""

import platform
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from installer.runner import InstallError

PYTHON = (3, 11)
PROBE = "import sys, venv, ensurepip; print(sys.version_info[:2] == (3, 11))"
NO_PYTHON = """Python 3.11 was not found (with its venv module). Install it in one of these ways, then run this again:
    Debian, Ubuntu:   sudo apt install python3.11 python3.11-venv
    Fedora, RHEL:     sudo dnf install python3.11
    without root:     pyenv install 3.11     (then PATH must have pyenv's shims)
                      uv python install 3.11 (then: make install PYTHON=$(uv python find 3.11))"""
NO_COMPILER = (
    "note: no C++ compiler (g++) found. Engines with enforceEager: true run without one; torch.compile, and with it\n"
    "      pipeline parallelism on a CPU, needs it:  sudo apt install g++   or   sudo dnf install gcc-c++"
)


def find_python(wanted: str) -> str:
    """Finds a Python 3.11 that can make virtual environments.

    Args:
        wanted: a name or path to try first; empty for the usual names.

    Raises:
        InstallError: there is none; the message says how to get one.
    """
    for candidate in _candidates(wanted):
        try:
            probe = subprocess.run([candidate, "-c", PROBE], capture_output=True, text=True, timeout=30, check=False)
        except (OSError, subprocess.TimeoutExpired):
            continue
        if probe.returncode == 0 and probe.stdout.strip() == "True":
            return candidate
    raise InstallError(NO_PYTHON)


def _candidates(wanted: str) -> Iterator[str]:
    if wanted:
        yield wanted
        return
    yield from (found for name in ("python3.11", "python3", "python") if (found := shutil.which(name)))
    yield from (path for path in ("/usr/bin/python3.11", "/usr/local/bin/python3.11") if Path(path).exists())


def check_platform(group: str) -> None:
    """Refuses what there are no wheels for, and what vLLM cannot start on.

    Raises:
        InstallError: not Linux, or (for the engine) neither x86_64 nor aarch64, or without `lscpu`.
    """
    if platform.system() != "Linux":
        raise InstallError(f"Manta's box runs on Linux, this is {platform.system()}: use a Linux machine or a VM")
    if group == "all" and platform.machine() not in {"x86_64", "aarch64"}:
        raise InstallError(
            f"there is no vLLM wheel for {platform.machine()}: `make install-dev` installs all but the engine"
        )
    if group == "all" and not shutil.which("lscpu"):
        raise InstallError("vLLM needs the command lscpu to start: install the package util-linux, then run this again")


def check_disk(root: Path, needed_gb: int) -> None:
    """Refuses to start what would fill the disk.

    Raises:
        InstallError: less than `needed_gb` gigabytes (10^9 bytes) are free.
    """
    free = shutil.disk_usage(root).free / 1e9
    if free < needed_gb:
        raise InstallError(
            f"{needed_gb} GB are needed below {root}, {free:.1f} GB are free: make room, then run this again"
        )


def has_compiler() -> bool:
    """Tells whether a C++ compiler is on the PATH."""
    return any(shutil.which(name) for name in ("g++", "c++", "clang++"))
