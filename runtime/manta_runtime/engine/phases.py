"""The phases of an engine pod from its start to its end, and how long each took. Pure: clocks are arguments.

A head goes through ray (if it has one) → group → start → load → compile and warmup → first-token → adapters (if it has
a list of them) → ready → draining → done, a worker through group → ray → ready → draining → done. What happens inside
vLLM is read from its log (vllm_words.py): a version that says other things stays in `start` until its first token, and
nothing fails.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

Phase = Literal[
    "ray", "group", "start", "load", "compile", "warmup", "first-token", "adapters", "ready", "draining", "done"
]

PHASES: tuple[Phase, ...] = get_args(Phase)

# Ranks of one engine say the same things a little apart: what they say moves the phase forward only. Compiling and
# warming up take turns.
_FORWARD: dict[str, int] = {"start": 0, "load": 1, "warmup": 2, "compile": 2, "first-token": 3}


@dataclass(frozen=True)
class Stretch:
    """One phase while it lasted: `begun` in seconds since 1970, `since` and `until` on the monotonic clock."""

    phase: Phase
    begun: float
    since: float
    until: float | None = None


@dataclass(frozen=True)
class Timeline:
    """All phases so far, in order; the last one is the current."""

    stretches: tuple[Stretch, ...] = ()

    @property
    def phase(self) -> Phase | None:
        """The phase of now, None before the first."""
        return self.stretches[-1].phase if self.stretches else None


def begin(timeline: Timeline, phase: Phase, wall: float, now: float) -> Timeline:
    """Return the timeline with a new phase from now on; the same one if it is in that phase already."""
    if timeline.phase == phase:
        return timeline
    ended = tuple(replace(each, until=now) if each.until is None else each for each in timeline.stretches)
    return Timeline((*ended, Stretch(phase, wall, now)))


def hear(timeline: Timeline, phase: Phase, wall: float, now: float) -> Timeline:
    """Return the timeline after vLLM has said something that belongs to `phase`: never back, never out of order."""
    before, after = _FORWARD.get(timeline.phase or ""), _FORWARD.get(phase)
    if before is None or after is None or after < before:
        return timeline
    return begin(timeline, phase, wall, now)


def seconds_by_phase(timeline: Timeline, now: float) -> dict[Phase, float]:
    """Return how long each phase has taken in all; the current one until now."""
    result: dict[Phase, float] = {}
    for each in timeline.stretches:
        until = now if each.until is None else each.until
        result[each.phase] = result.get(each.phase, 0.0) + until - each.since
    return result


def describe_last(timeline: Timeline) -> str:
    """Return a sentence for the log: which phase began, and how long the one before took."""
    if not timeline.stretches:
        return ""
    current = timeline.stretches[-1].phase
    if len(timeline.stretches) == 1:
        return f"phase {current}"
    before = timeline.stretches[-2]
    took = (before.until or before.since) - before.since
    return f"phase {current}, {before.phase} took {took:.1f} s"


def timeline_json(timeline: Timeline, now: float) -> list[dict[str, Any]]:
    """Return the phases for GET /status: name, when it began (seconds since 1970), seconds, whether it is over."""
    return [
        {
            "phase": each.phase,
            "begun": round(each.begun, 3),
            "seconds": round((now if each.until is None else each.until) - each.since, 3),
            "over": each.until is not None,
        }
        for each in timeline.stretches
    ]
