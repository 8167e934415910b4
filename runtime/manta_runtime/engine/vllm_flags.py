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


def hide_values(flags: Sequence[str], name: str) -> tuple[str, ...]:
    """Return the flags with every value of `name` (it may have several) replaced by `***`."""
    shown: list[str] = []
    hiding = False
    for flag in flags:
        if flag.startswith("--"):
            hiding = _name_of(flag) == name
            shown.append(flag.split("=", 1)[0] + "=***" if hiding and "=" in flag else flag)
        else:
            shown.append("***" if hiding else flag)
    return tuple(shown)


def values_of(flags: Sequence[str], name: str) -> tuple[str, ...]:
    """Return every value of `name`, which may be given several times and have several each time."""
    values: list[str] = []
    taking = False
    for flag in flags:
        if flag.startswith("--"):
            taking = _name_of(flag) == name
            values += [flag.split("=", 1)[1]] if taking and "=" in flag else []
        elif taking:
            values.append(flag)
    return tuple(values)


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
