"""What was noted of a deployment that scales, moment after moment, and what it says. Pure. Times: monotonic seconds."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

CHANCE_SECONDS, PAUSE_SECONDS = 2.0, 1.0


@dataclass(frozen=True)
class Moment:
    """How it stood at `at`, until the next moment.

    `asked`: status.autoscaling.replicas, None where there is none. `groups`: StatefulSets that stay; `pods`: engine
    pods, those that end included; `ready`: of those that stay. `waiting`: in engines, `held`: in routers. `reason`:
    of the condition Autoscaled.
    """

    at: float
    asked: int | None = None
    groups: int = 0
    pods: int = 0
    ready: int = 0
    waiting: int = 0
    held: int = 0
    reason: str = ""

    @property
    def saturated(self) -> bool:
        """Whether requests wait for want of a replica."""
        return self.waiting + self.held > 0


@dataclass(frozen=True)
class Reaction:
    """One time that it became saturated and grew. `seconds`: from the one to the other, 0 where it grew before."""

    saturated: float
    grown: float

    @property
    def seconds(self) -> float:
        """From the first request that waited to the first StatefulSet more."""
        return max(0.0, self.grown - self.saturated)


def reaction(moments: Sequence[Moment], began: float) -> Reaction | None:
    """Return how the load that began to grow at `began` was met; None where it never saturated, or never grew.

    A request that waits for a moment only is chance: it counts from the first of those that wait for CHANCE_SECONDS
    on, one or the other, or until there is a StatefulSet more.
    """
    later = [each for each in moments if each.at >= began]
    before = [each for each in moments if each.at < began]
    groups = before[-1].groups if before else 0
    grown = next((each.at for each in later if each.groups > groups), None)
    saturated = next(
        (at for at, end in _saturations(later) if end - at >= CHANCE_SECONDS or at <= (grown or at) <= end), None
    )
    return Reaction(saturated, grown) if saturated is not None and grown is not None else None


def _saturations(moments: Sequence[Moment]) -> list[tuple[float, float]]:
    """Return from when to when requests waited without a pause longer than PAUSE_SECONDS."""
    found: list[tuple[float, float]] = []
    for each, after in pairwise(moments):
        if each.saturated:
            joined = found and each.at - found[-1][1] <= PAUSE_SECONDS
            found[-1:] = [(found[-1][0], after.at)] if joined else [*found[-1:], (each.at, after.at)]
    return found


def numbers(moments: Sequence[Moment]) -> list[int]:
    """Return the numbers of StatefulSets one after the other, each once."""
    found: list[int] = []
    for each in moments:
        if found[-1:] != [each.groups]:
            found.append(each.groups)
    return found


def turns(moments: Sequence[Moment]) -> int:
    """Return how often it changed its mind: went up after down, or down after up."""
    steps = [later - before for before, later in pairwise(numbers(moments))]
    return sum((before > 0) != (later > 0) for before, later in pairwise(steps))


def replica_seconds(moments: Sequence[Moment], until: float) -> float:
    """Return the seconds that StatefulSets stood, all together."""
    ends = [*(each.at for each in moments[1:]), until]
    return sum(each.groups * (end - each.at) for each, end in zip(moments, ends, strict=True))
