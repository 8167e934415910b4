"""What the fetch of an adapter tells the other containers of its pod: one small file for each, replaced as a whole.

Written by fetch.py (`--told`) and adapters_run.py, read by the launcher of this rank. Nothing here is trusted: a file
that cannot be read tells nothing.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

if TYPE_CHECKING:
    from pathlib import Path

ToldState = Literal["fetching", "fetched", "failed"]

_STATES: dict[str, ToldState] = {state: state for state in get_args(ToldState)}
_MOST_BYTES = 16 * 1024
LONGEST_MESSAGE = 500


@dataclass(frozen=True)
class Told:
    """How far a fetch is; sizes in bytes, None while they are not known. `message` says why it failed, or waits."""

    state: ToldState
    bytes: int | None = None
    total: int | None = None
    message: str = ""


def told_file(folder: Path, key: str) -> Path:
    """Return the file of one adapter."""
    return folder / f"{key}.json"


def write_told(path: Path, told: Told) -> None:
    """Replace the file. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    part.write_text(json.dumps(asdict(told) | {"message": told.message[:LONGEST_MESSAGE]}), encoding="utf-8")
    part.rename(path)


def read_told(path: Path) -> Told | None:
    """Return what the file tells, None when there is none or it cannot be understood."""
    try:
        with path.open(encoding="utf-8") as file:
            data: Any = json.loads(file.read(_MOST_BYTES))
        state, message = _STATES[data["state"]], data.get("message", "")
        sizes = (data.get("bytes"), data.get("total"))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    if not isinstance(message, str) or not all(size is None or isinstance(size, int) for size in sizes):
        return None
    return Told(state, *sizes, message[:LONGEST_MESSAGE])
