"""Log files of containers: one per run, <container>/<restart>.log, written by the container itself."""

import os
from pathlib import Path

_KEPT = 5
_TAIL_BYTES = 2048
_TAIL_LINES = 80


def log_file(folder: Path, container: str, run: int) -> Path:
    """Where run number `run` (0 is the first) of a container writes."""
    return folder / container / f"{run}.log"


def drop_old_logs(folder: Path, container: str, run: int) -> None:
    """Keep the newest few; a container that restarts for ever must not fill the disk with files."""
    log_file(folder, container, run - _KEPT).unlink(missing_ok=True)


def tail(path: Path) -> str:
    """The end of a log, as Kubernetes takes it for termination messages: at most 2 KiB and 80 lines."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL_BYTES))
            text = file.read().decode(errors="replace")
    except OSError:
        return ""
    return "\n".join(text.splitlines()[-_TAIL_LINES:])
