"""Read single flags out of a vLLM command line, in both spellings (`--flag=value` and `--flag value`).

Pure. Only what the launcher must know itself is read; vLLM parses the rest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def has_flag(flags: Sequence[str], name: str) -> bool:
    """Say whether `name` (with its dashes; `_` counts as `-`, as in vLLM) is among the flags."""
    return any(_name_of(flag) == name for flag in flags)


def find_flag(flags: Sequence[str], name: str) -> str | None:
    """Return the first value of `name`, or None when it is absent or has no value."""
    for position, flag in enumerate(flags):
        if _name_of(flag) != name:
            continue
        if "=" in flag:
            return flag.split("=", 1)[1]
        following = flags[position + 1 : position + 2]
        return following[0] if following and not following[0].startswith("--") else None
    return None


def count_flag(flags: Sequence[str], name: str) -> int:
    """Return the value of `name` as a number of at least 1; 1 when absent. Raises ValueError with a message."""
    text = find_flag(flags, name)
    if text is None:
        return 1
    if not text.isdecimal() or int(text) < 1:
        raise ValueError(f"{name}={text} is not a whole number of at least 1.")
    return int(text)


def _name_of(flag: str) -> str:
    if not flag.startswith("--"):
        return ""
    return "--" + flag.removeprefix("--").split("=", 1)[0].replace("_", "-")
