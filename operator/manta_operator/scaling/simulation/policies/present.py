"""What the oracle would be without the future: it knows exactly the work that came and what a replica can do. Pure.

    asked(t) = the highest work of a half minute in [t - H, t + foresight], over use
    the best = the cheapest H and use of all that meet the objective, known only after the end

It is no bound that could be proved, for other rules than a maximum over a window are possible. It shows what part of
the distance to the oracle is due to the future and what part to the policy: a real policy has to learn the work of a
request and the capacity, and has to choose H and use before it knows how the trace ends.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from manta_operator.scaling.simulation.fleet import Setup
from manta_operator.scaling.simulation.outcome import Outcome, Slo
from manta_operator.scaling.simulation.policies import oracle
from manta_operator.scaling.simulation.policies.fixed import Timetable
from manta_operator.scaling.simulation.run import run
from manta_operator.scaling.simulation.trace import Trace

HOLDS = (15.0, 60.0, 180.0, 300.0, 600.0, 1200.0, 3600.0)
_USES = (0.4, 1.2)
_STEPS = 5
_MEAN_SECONDS = 30.0


@dataclass(frozen=True)
class Known:
    """What it came to with the best `hold` (s) and `use`; `hours` of replicas."""

    hold: float
    use: float
    outcome: Outcome
    hours: float


def timetable(work: Sequence[float], use: float, hold: float, foresight: float, setup: Setup) -> tuple[int, ...]:
    """Return how many replicas to ask for in every bin of the oracle's length, from what is known in it.

    Args:
        work: Replicas that the arriving work fills, in bins.
        use: How full they may be.
        hold: How long the highest work is kept (s).
        foresight: How much of the future is known (s).
        setup: Bounds.
    """
    width, back, ahead = (round(each / oracle.BIN_SECONDS) for each in (_MEAN_SECONDS, hold, foresight))
    means = [sum(work[max(0, i + 1 - width) : i + 1]) / min(i + 1, width) for i in range(len(work))]
    asked = []
    for index in range(len(means)):
        # A bin is known when it is over.
        highest = max(means[max(0, index - 1 - back) : max(1, index + ahead)])
        asked.append(min(setup.most, max(setup.least, math.ceil(highest / use - 1e-9))))
    return tuple(asked)


def best(trace: Trace, setup: Setup, slo: Slo, begin: float, foresight: float = 0.0) -> Known | None:
    """Return the cheapest that meets the objective; None if none does."""
    work = oracle.load(trace, setup)
    found: Known | None = None
    for hold in HOLDS:
        low, high = _USES
        for _ in range(_STEPS):
            use = (low + high) / 2
            asked = timetable(work, use, hold, foresight, setup)
            started = replace(setup, initial=asked[0])
            outcome = run(trace, lambda _, asked=asked: Timetable(asked, oracle.BIN_SECONDS), started, begin)  # type: ignore[misc]
            if outcome.attainment(slo, setup.model) < slo.objective:
                high = use
                continue
            low, hours = use, outcome.replica_hours()
            if found is None or hours < found.hours:
                found = Known(hold, use, outcome, hours)
    return found
