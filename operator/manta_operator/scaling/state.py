"""What the autoscaler remembers from one decision to the next: a value, so that it can be kept, shown and tested."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from manta_operator.scaling.capacity import Capacity
from manta_operator.scaling.signals import Demand, EngineSignals

BIN_SECONDS = 15.0
"""The past is kept in bins of this length: shorter than any start of an engine."""

MOST_BINS = 480
"""Two hours."""


@dataclass(frozen=True, slots=True)
class Bin:
    """Work that came in one stretch: seconds of a replica as estimated, a second. `at`: when the stretch began (s)."""

    at: float
    rate: float
    seconds: float


Look = tuple[float, EngineSignals]
"""When (s), and what the engine said."""


@dataclass(frozen=True)
class State:
    """Empty after a restart. Times in seconds of the signals' clock.

    `now`: of the last look at the demand. `since`: since when there was no gap between looks. `bins`: the work that
    came, in order. `ticks`: the same in short bins, for how it fluctuates. `came`: whether anything did, since the look
    before. `per_answer`: tokens of a mean answer; `made`: requests of about the last hour, and what engines made for
    them. `per_prompt`: of a mean prompt, and its pairs; with both, how many weigh in it. `engines`: as seen at
    `engines_at`. `capacity`: what a replica can do. `margin`: a factor on the need, above 1 after the objective was
    missed; `late_with`: replicas, and the share that was late, when it began to rise. `hold`: the stabilisation window
    in use, `window`, over which rates are averaged, and `share` of the spread that is kept in it, chosen at `held_at`.
    `raised_at`: when more was asked for last. `lowered_at`: when a step down began, from `lowered_from` replicas.
    `idle_since`: since when there has been nothing to do. `unready_since`: since when none of those asked for is ready.
    `saturated_since`: since when there has been no room for what comes, `saturated_at`: when last.
    """

    now: float | None = None
    since: float | None = None
    demand: Demand | None = None
    bins: tuple[Bin, ...] = ()
    ticks: tuple[Bin, ...] = ()
    came: bool = False
    per_answer: tuple[float, float] | None = None
    made: tuple[float, float] = (0.0, 0.0)
    per_prompt: tuple[float, float, float] | None = None
    engines: Mapping[str, Look] = field(default_factory=dict)
    capacity: Capacity = field(default_factory=Capacity)
    margin: float = 1.0
    late_with: tuple[int, float] | None = None
    hold: float | None = None
    window: float = BIN_SECONDS
    share: float = 1.0
    held_at: float | None = None
    raised_at: float | None = None
    lowered_at: float | None = None
    lowered_from: int = 0
    idle_since: float | None = None
    unready_since: float | None = None
    saturated_since: float | None = None
    saturated_at: float | None = None
