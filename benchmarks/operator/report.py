"""The table on the terminal: each number beside its goal."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Goal:
    """One number of the report: its key, what it is, its goal in words, and whether a value reaches it."""

    key: str
    meaning: str
    wanted: str
    reached: Callable[[float], bool]


def table(title: str, goals: Sequence[Goal], found: Mapping[str, Any]) -> str:
    """The table as text, one line a goal."""
    lines = [f"\n{title}\n"]
    for goal in goals:
        value = found[goal.key]
        verdict = "reached" if goal.reached(value) else "MISSED"
        lines.append(f"  {goal.key:<18} {value:>9.2f}  goal {goal.wanted:<6} {verdict:<8} {goal.meaning}\n")
    return "".join(lines)
