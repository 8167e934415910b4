"""The oracle: it knows the whole trace, and pays the cold start like everybody. Pure; runs the simulation to be sure.

    need(t)   = mean work that arrives in [t - w, t + w], in replicas / use; its ceiling: levels of replicas
    level j   is on while need > j - 1; it stays on over a gap shorter than the cold start, as a new start costs more;
              it is asked for one cold start before it is needed
    the least = over windows w, by bisection, the highest use with which the simulation still meets the objective;
                or the fewest replicas that meet it if they are kept all the time, where that is less

What it finds is a timetable that was played, so the GPU-hours can be reached: an upper bound of the optimum, and a
heuristic. `bound` is from below: the same levels of the work alone, at a use of 1, averaged over a minute.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from manta_operator.scaling.simulation.fleet import Setup
from manta_operator.scaling.simulation.outcome import Outcome, Slo
from manta_operator.scaling.simulation.policies.fixed import Timetable
from manta_operator.scaling.simulation.run import run
from manta_operator.scaling.simulation.trace import Trace, rates

BIN_SECONDS = 5.0
_HALF_WINDOWS = (10.0, 40.0)
_USES = (0.5, 1.1)
_STEPS = 5


@dataclass(frozen=True)
class Found:
    """What the oracle does: its timetable, played. `use`, `half_window`: with which it was made."""

    timetable: tuple[int, ...]
    outcome: Outcome
    use: float
    half_window: float
    hours: float


def load(trace: Trace, setup: Setup) -> list[float]:
    """Return the replicas that the arriving work fills entirely, in bins of BIN_SECONDS."""
    return rates(trace, setup.model.work, BIN_SECONDS, trace[-1].at if trace else 0.0)


def timetable(work: Sequence[float], use: float, half_window: float, setup: Setup) -> tuple[int, ...]:
    """Return how many replicas to ask for in every bin."""
    smooth = _smoothed(work, round(half_window / BIN_SECONDS))
    need = [min(setup.most, max(setup.least, math.ceil(value / use - 1e-9))) for value in smooth]
    early = math.ceil(setup.cold_start / BIN_SECONDS)
    asked = [setup.least] * len(need)
    for level in range(setup.least + 1, max(need) + 1):
        for first, last in _spans(need, level, early):
            for index in range(max(0, first - early), last + 1):
                asked[index] = max(asked[index], level)
    return tuple(asked)


def bound(work: Sequence[float], setup: Setup, begin: float) -> float:
    """Return replica-hours from below: the levels of the work alone, at a use of 1, averaged over a minute."""
    asked = timetable(work, 1.0, 30.0, setup)
    return sum(asked[round(begin / BIN_SECONDS) :]) * BIN_SECONDS / 3600


def best(trace: Trace, setup: Setup, slo: Slo, begin: float) -> Found:
    """Return the timetable with the fewest replica-hours that meets the objective; the one with most, if none does."""
    work = load(trace, setup)
    found: Found | None = None
    fallback: Found | None = None
    for half_window in _HALF_WINDOWS:
        low, high = _USES
        for _ in range(_STEPS):
            use = (low + high) / 2
            played = _play(trace, timetable(work, use, half_window, setup), setup, begin, use, half_window)
            if played.outcome.attainment(slo, setup.model) < slo.objective:
                high = use
                fallback = fallback if fallback and fallback.use <= use else played
                continue
            low = use
            if found is None or played.hours < found.hours:
                found = played
            if found is not played and played.hours > found.hours * 1.2:
                break
    kept = _constant(trace, work, setup, slo, begin)
    if kept is not None and (found is None or kept.hours < found.hours):
        found = kept
    chosen = found or fallback
    if chosen is None:
        raise ValueError("the oracle tries at least one timetable")
    return chosen


def _constant(trace: Trace, work: Sequence[float], setup: Setup, slo: Slo, begin: float) -> Found | None:
    """Return the fewest replicas that meet the objective without ever changing; None if the most do not."""
    low, high, found = max(0, math.ceil(sum(work) / max(1, len(work))) - 1), setup.most, None
    while low + 1 < high or (found is None and low < high):
        count = (low + high) // 2 if low + 1 < high else high
        played = _play(trace, (count,) * max(1, len(work)), setup, begin, 1.0, 0.0)
        if played.outcome.attainment(slo, setup.model) >= slo.objective:
            high, found = count, played
        else:
            low = count
    return found


def _play(trace: Trace, asked: tuple[int, ...], setup: Setup, begin: float, use: float, half_window: float) -> Found:
    started = replace(setup, initial=asked[0])
    outcome = run(trace, lambda _: Timetable(asked, BIN_SECONDS), started, begin)
    return Found(asked, outcome, use, half_window, outcome.replica_hours())


def _smoothed(work: Sequence[float], half: int) -> list[float]:
    sums = [0.0]
    for value in work:
        sums.append(sums[-1] + value)
    smooth = []
    for index in range(len(work)):
        first, last = max(0, index - half), min(len(work), index + half + 1)
        smooth.append((sums[last] - sums[first]) / (last - first))
    return smooth


def _spans(need: Sequence[int], level: int, bridge: int) -> list[tuple[int, int]]:
    """Return the stretches in which the level is needed, those nearer than `bridge` bins joined."""
    spans: list[tuple[int, int]] = []
    for index, value in enumerate(need):
        if value < level:
            continue
        if spans and index - spans[-1][1] <= bridge:
            spans[-1] = (spans[-1][0], index)
        else:
            spans.append((index, index))
    return spans
