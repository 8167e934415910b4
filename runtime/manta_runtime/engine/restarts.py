"""How often this pod's launcher has started, and why it ended last time: a small file. Effects.

A pod restarts only together with its group (group.py), so these are the group's restarts since the pod was made. The
file is of use where its folder outlives the container: an emptyDir. A container's own /tmp is new each time, and then
every start looks like the first: None is told, not 0.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_NAME = "manta-engine-starts.json"
_LONGEST = 1000


@dataclass(frozen=True)
class Past:
    """`restarts` of this pod's engine container, and the last sentence of the run before: "" if it could say none."""

    restarts: int
    last_end: str = ""


def note_start(folder: Path | None, pod: str) -> Past | None:
    """Count one start of `pod` and return what is known of those before; None without a folder that can be written."""
    if folder is None:
        return None
    before = _read(folder / _NAME, pod)
    restarts = before.restarts + 1 if before else 0
    if not _write(folder / _NAME, {"pod": pod, "restarts": restarts, "end": ""}):
        return None
    return Past(restarts, before.last_end if before else "")


def note_end(folder: Path | None, pod: str, sentence: str) -> None:
    """Keep why this run ends, for the next one. Does nothing where it cannot."""
    path = folder / _NAME if folder else None
    before = _read(path, pod) if path else None
    if path and before:
        _write(path, {"pod": pod, "restarts": before.restarts, "end": sentence[:_LONGEST]})


def _read(path: Path, pod: str) -> Past | None:
    try:
        content = json.loads(path.read_text())
        return Past(int(content["restarts"]), str(content["end"])) if content["pod"] == pod else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _write(path: Path, content: dict[str, object]) -> bool:
    part = path.with_suffix(".part")
    try:
        part.write_text(json.dumps(content))
        part.replace(path)
    except OSError:
        return False
    return True
