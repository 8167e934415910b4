"""The last line of defence: of signals, what can be true; the rest is missing, and missing is never zero. Pure.

`reading.py` refuses documents that cannot be; this is for whatever comes another way. A number that is no number,
negative, or larger than any counter becomes, ends what it stands in: the demand, or that engine's signals. A clock that
says nothing stands still. How many replicas there are is at least none and at most what the API can hold.
"""

import math
from dataclasses import replace

from manta_operator.scaling.signals import Demand, EngineSignals, Histogram, Replicas, Signals

_MOST_COUNTED, _MOST_PAIRS, _MOST_WAITING = 1e18, 1e27, 1e9
_MOST_REPLICAS = 2**31 - 1
_MOST_START = 86_400.0
"""A start that takes longer than a day is none (s)."""


def believable(signals: Signals, clock: float | None) -> Signals:
    """Return what may be computed with; `clock`: the time of the last look (s), for one that says nothing."""
    now = signals.now if math.isfinite(signals.now) and abs(signals.now) < _MOST_COUNTED else (clock or 0.0)
    demand = signals.demand if signals.demand is None or _demand(signals.demand) else None
    engines = {name: _histograms(engine) for name, engine in signals.engines.items() if _engine(engine)}
    start = signals.cold_start if _within(_MOST_START, signals.cold_start or 0.0) else None
    return replace(
        signals, now=now, demand=demand, engines=engines, cold_start=start, replicas=_replicas(signals.replicas)
    )


def _within(most: float, *values: float) -> bool:
    """Whether all are numbers from 0 to `most`; not a number compares to nothing."""
    return all(0 <= value <= most for value in values)


def _demand(seen: Demand) -> bool:
    counted = _within(_MOST_COUNTED, seen.requests, seen.tokens_in, seen.tokens_out, seen.answers)
    return counted and _within(_MOST_PAIRS, seen.pairs) and _within(_MOST_WAITING, seen.in_flight, seen.held)


def _engine(seen: EngineSignals) -> bool:
    tokens = 0 <= (seen.prompt_tokens or 0) <= _MOST_COUNTED and 0 <= (seen.generated_tokens or 0) <= _MOST_COUNTED
    return (
        tokens and 0 <= seen.kv_usage <= 1 and 0 <= seen.waiting <= _MOST_WAITING and 0 <= seen.running <= _MOST_WAITING
    )


def _histograms(seen: EngineSignals) -> EngineSignals:
    first, between = _histogram(seen.first_token), _histogram(seen.between_tokens)
    if first is seen.first_token and between is seen.between_tokens:
        return seen
    return replace(seen, first_token=first, between_tokens=between)


def _histogram(seen: Histogram | None) -> Histogram | None:
    return seen if seen is None or (min(seen.counts) >= 0 and sum(seen.counts) <= _MOST_COUNTED) else None


def _replicas(seen: Replicas) -> Replicas:
    counts = (seen.asked, seen.ready, seen.starting, seen.unschedulable)
    if _within(_MOST_REPLICAS, *counts):
        return seen
    return Replicas(*(count if _within(_MOST_REPLICAS, count) else 0 for count in counts))
