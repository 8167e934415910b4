"""How long to keep the highest need, and of how short a rush: what would have been cheapest in the past. Pure.

    asked(t)    = the highest need of the last H seconds, of rates averaged over w seconds,
                  with a share of the spread; before the past there was the same past once more
    capacity(t) = the least asked for in the last cold start: what was given up is not back sooner
    swing       = sqrt(mean of (d(t + s) - d(t))^2 / 2 - the chance of single requests) / mean of d
                  d = replicas that the work fills; the largest for s = a start, half, a quarter of one
    queue      += (1 + min(1, swing) / 5) x least - capacity
                  least = the work and a quarter of the spread that a bin hides
    late        : what comes while the queue takes longer than a first token may, from the first cold start on
    late, cost  = share of late work; mean of asked(t)
    H, w, share = the cheapest with late <= (1 - objective) / 3, or within that of the best that can be had
    hold        = H + the least of 2 H, 4 cold starts and 8 minutes; at least 5 minutes, and a cold start
                = a fifth less than before at most: longer at once, shorter only as often as it is found again

A replica that was given up too early costs a cold start and late requests; one that is kept costs itself. Which is
dearer depends on how demand comes and goes here, and the last hours say it. The past is taken for typical, so it comes
round: its first rush was preceded by its last, and how a deployment began does not count against windows for hours.
What is to come is not what was: the longest lull is still to come, so where lulls matter the window is longer than what
would have done; and so is the highest rush, by the more, the more demand changes within a start, for that is what
nobody can follow. Until there is enough of a past, the window is at least five starts. To get back within a cold start
what was given up is dearer than to keep it, so no window is shorter than that. What is 5 % cheaper at most changes
neither w nor share, for each change moves replicas.
"""

import itertools
import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from manta_operator.scaling.need import Scale, smoothed
from manta_operator.scaling.signals import Demand
from manta_operator.scaling.state import BIN_SECONDS, Bin

HOLDS = (60.0, 120.0, 180.0, 240.0, 300.0, 400.0, 540.0, 720.0, 960.0, 1260.0, 1620.0, 2100.0, 2700.0, 3600.0)
WINDOWS = (60.0, 30.0, 15.0)
SHARES = (0.5, 1.0)
"""What there is to choose from (s, s, of the spread)."""

EVERY_SECONDS = 300.0
ENOUGH_SECONDS, _ENOUGH_STARTS = 1800.0, 3
_STARTS = 5
_LEAST = 300.0
_LONGER, _LONGER_STARTS, _MOST_LONGER = 2.0, 4.0, 480.0
_SHORTER = 0.8
_STICKY = 1.05
_HIGHER, _PARTS = 0.2, (1, 2, 4)
_GOLDEN = 0.6180339887
_FIRST_WINDOW, _FIRST_SHARE = 30.0, 0.75


@dataclass(frozen=True)
class Choice:
    """`hold` and `window` in seconds, `share` of the spread; `late`: of the past's work; `cost`: mean replicas."""

    hold: float
    window: float
    share: float = 1.0
    late: float = 0.0
    cost: float = 0.0


def choose(bins: Sequence[Bin], scale: Scale, *, predicts: bool, before: float | None = None) -> Choice:
    """Return what the past would have wanted; a default as long as there is too little of it.

    Args:
        bins: The past.
        scale: With the window and share in use.
        predicts: Whether the trend is used.
        before: The stabilisation window in use (s).
    """
    first = min(HOLDS[-1], max(_LEAST, _STARTS * scale.cold_start))
    if not any(each.rate for each in bins):
        return Choice(first, _FIRST_WINDOW, _FIRST_SHARE)
    load = [scale.least(each.rate) for each in bins]
    higher = 1 + _HIGHER * min(1.0, swing([scale.load(each.rate) for each in bins], scale))
    load = [work * higher for work in load]
    needs = {
        (window, share): _needs(bins, replace(scale, window=window, share=share), predicts)
        for window, share in itertools.product(WINDOWS, SHARES)
    }
    longest = {key: judge(load, need, Choice(HOLDS[-1], *key), scale) for key, need in needs.items()}
    budget = (1 - scale.target.objective) / 3
    allowed = budget + min(each.late for each in longest.values())
    good = {
        key: _shortest(lambda hold, key=key: judge(load, needs[key], Choice(hold, *key), scale), kept, allowed)  # type: ignore[misc]
        for key, kept in longest.items()
        if kept.late <= allowed
    }
    best = min(good.values(), key=lambda each: each.cost)
    now = good.get((scale.window, scale.share), best)
    best = now if now.cost <= best.cost * _STICKY else best
    longer = best.hold + min(_LONGER * best.hold, _LONGER_STARTS * scale.cold_start, _MOST_LONGER)
    best = replace(best, hold=max(longer, _LEAST, scale.cold_start, _SHORTER * (before or 0.0)))
    if len(bins) * BIN_SECONDS < max(ENOUGH_SECONDS, _ENOUGH_STARTS * scale.cold_start):
        return Choice(max(best.hold, first), _FIRST_WINDOW, _FIRST_SHARE, best.late, best.cost)
    return best


def phase(seen: Demand | None) -> float:
    """Return by how much the first choice counts as older than it is (s): what begins together is chosen apart."""
    counted = seen.requests + seen.tokens_in if seen else 0.0
    return EVERY_SECONDS * (counted * _GOLDEN % 1.0)


def _needs(bins: Sequence[Bin], scale: Scale, predicts: bool) -> list[int]:
    rates = ahead(smoothed(bins, scale.window), scale.cold_start, predicts)
    return [math.ceil(scale.kept(rate)) for rate in rates]


def _shortest(judged: Callable[[float], Choice], longest: Choice, allowed: float) -> Choice:
    """Return the shortest window that is not late too often, by bisection: a longer one is late less often."""
    low, high, best = 0, len(HOLDS) - 1, longest
    while low < high:
        middle = (low + high) // 2
        found = judged(HOLDS[middle])
        if found.late <= allowed:
            high, best = middle, found
        else:
            low = middle + 1
    return best


def ahead(rates: Sequence[float], cold_start: float, predicts: bool) -> list[float]:
    """Return the rates with the trend as it will have been seen, roughly: by how much they grew in the last two starts.

    Two starts are what `demand.trend` looks at; half of their growth is what one start brings.
    """
    reach = max(20, round(2 * cold_start / BIN_SECONDS))
    if not predicts:
        return list(rates)
    found = []
    for index, rate in enumerate(rates):
        grown = rate - rates[max(0, index - reach)]
        found.append(rate + max(0.0, grown) * cold_start / (reach * BIN_SECONDS))
    return found


def judge(load: Sequence[float], need: Sequence[float], choice: Choice, scale: Scale) -> Choice:
    """Return the choice with what it would have cost, and how much would have come late.

    Args:
        load: Replicas without which the work of each bin comes late, oldest first.
        need: Replicas that should have been there for it.
        choice: What is judged.
        scale: For the cold start, and for how long a first token may take.
    """
    start, hold = (max(1, round(seconds / BIN_SECONDS)) for seconds in (scale.cold_start, choice.hold))
    before = need[-hold:]
    asked = _extreme([*before, *need], hold, largest=True)
    capacity = _extreme(asked, start, largest=False)[len(before) - 1 :]
    end = missed = 0.0
    for work, has in itertools.islice(zip(load, capacity, strict=False), start, None):
        limit, queue = scale.target.first_token * has, max(0.0, end)
        end = queue + (work - has) * BIN_SECONDS
        longest, shortest = max(queue, end), min(queue, end)
        if longest > limit:
            missed += work * (1.0 if shortest >= limit else (longest - limit) / (longest - shortest))
    total = sum(load[start:])
    late = missed / total if total else 0.0
    return Choice(choice.hold, choice.window, choice.share, late, sum(asked[len(before) :]) / len(load))


def swing(load: Sequence[float], scale: Scale) -> float:
    """Return by how much of its mean the load changes within a cold start, beyond the chance of single requests.

    More than one distance is looked at, for rushes that come every so often are the same again after that time.
    """
    start, mean = max(1, round(scale.cold_start / BIN_SECONDS)), sum(load) / len(load)
    if not mean:
        return 0.0
    chance = scale.grain / scale.speed / BIN_SECONDS * mean
    found = 0.0
    for distance in {max(1, start // part) for part in _PARTS}:
        squares = [(later - sooner) ** 2 for sooner, later in zip(load, load[distance:], strict=False)]
        if squares:
            found = max(found, sum(squares) / len(squares) / 2 - chance)
    return math.sqrt(found) / mean


def _extreme(values: Sequence[float], length: int, *, largest: bool) -> list[float]:
    """Return the largest (or least) of the last `length` values, at each."""
    sign = 1.0 if largest else -1.0
    best: deque[tuple[int, float]] = deque()
    found = []
    for index, value in enumerate(values):
        signed = sign * value
        while best and best[-1][1] <= signed:
            best.pop()
        best.append((index, signed))
        if best[0][0] <= index - length:
            best.popleft()
        found.append(sign * best[0][1])
    return found
