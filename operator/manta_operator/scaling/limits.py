"""From a need to a number that may be asked for: bounds, steps, the window, zero, and what is missing. Pure.

In this order; each names itself, and the last that changed the number is what the decision's sentence speaks of.
"""

import math
from dataclasses import dataclass, replace

from manta_operator.scaling import saturation
from manta_operator.scaling.busy import busy
from manta_operator.scaling.settings import Settings
from manta_operator.scaling.signals import Signals
from manta_operator.scaling.state import BIN_SECONDS, State

_BAND_SHARE = 0.05
"""Of what is asked for: by how much more or less must be needed, so that chance about a whole number moves nothing.

What moves goes all the way: replicas for the band itself would be there for good.
"""

_HOLD_SECONDS = 300.0
"""For how long what a queue asked for is kept, where no window is set."""

_RATE_SECONDS = 2 * BIN_SECONDS
"""How long demand is watched at least, however short the window is, before anything is taken away for it."""

_STARTS = 5
"""Cold starts after which replicas that never became ready neither keep a deployment from zero nor get company."""

_MISSING_SHARE = 0.25
"""By how much to grow while demand cannot be seen and every engine has requests waiting."""


@dataclass(frozen=True)
class Limited:
    """The number, why it is not the need itself (words.py knows the sentences), and what to remember."""

    replicas: int
    because: str
    state: State


def limited(settings: Settings, state: State, signals: Signals, need: float, held: float) -> Limited:
    """Return how many replicas to ask for.

    Args:
        settings: Bounds and behaviour.
        state: After this look.
        signals: Of now.
        need: Replicas needed now.
        held: The most that were needed within the window.
    """
    asked = signals.replicas.asked
    state = _waking(state, signals)
    if signals.demand is None:
        wanted, because = _blind(signals)
    else:
        state, idle = _idle(settings, state, signals)
        wanted, because = (settings.least, "idle") if idle else _wanted(settings, state, signals, need, held)
        if wanted < asked and (kept := _kept(settings, state, signals, idle=idle)):
            wanted, because = asked, kept
    if wanted > asked and _broken(settings, state, signals):
        wanted, because = asked, "broken"
    behaviour = settings.behaviour
    fastest = asked + max(behaviour.up_count, math.floor(asked * behaviour.up_share))
    if wanted > fastest:
        wanted, because = fastest, "step"
    if wanted < asked and because != "idle":
        state, floor = _lowest(settings, state, signals)
        if wanted < floor:
            wanted, because = floor, "gently"
    bounded = min(settings.most, max(settings.least, wanted))
    if bounded != wanted:
        because = "most" if bounded < wanted else "least"
    if bounded > asked:
        state = replace(state, raised_at=signals.now)
    return Limited(bounded, because, state)


def _wanted(settings: Settings, state: State, signals: Signals, need: float, held: float) -> tuple[int, str]:
    """Return whole replicas: for the need, what finds no room, and what is under way."""
    asked, most = signals.replicas.asked, max(need, held)
    because, band = "held" if math.ceil(held - 1e-9) > math.ceil(need - 1e-9) else "need", _BAND_SHARE * asked
    moves = most > asked + band or math.ceil(most + band) < asked
    wanted = math.ceil(most - 1e-9) if moves else asked
    if wanted < (floor := saturation.floor(state, signals)):
        wanted, because = floor, "saturated"
    under_way = min(asked, math.ceil(busy(settings.target, state, signals) - 1e-9))
    if wanted < under_way:
        wanted, because = under_way, "busy"
    return max(1, wanted), because


def _kept(settings: Settings, state: State, signals: Signals, *, idle: bool) -> str:
    """Return why nothing may be taken away now; nothing where it may."""
    if signals.demand is not None and signals.demand.partial:
        return "partial"
    if signals.rolling:
        return "rolling"
    if idle:
        return ""
    hold = settings.behaviour.hold
    if saturation.lately(state, signals.now, _HOLD_SECONDS if hold is None else hold):
        return "queued"
    raised = state.since if state.raised_at is None else state.raised_at
    young = raised is None or 0 <= signals.now - raised < _start(settings, signals)
    if young and signals.replicas.ready < signals.replicas.asked:
        return "starting"
    return "" if _watched(state, signals.now) else "watching"


def _watched(state: State, now: float) -> bool:
    """Whether demand was seen without a gap for as long as the window, and for so long that it has a rate."""
    return state.since is not None and state.hold is not None and now - state.since >= max(state.hold, _RATE_SECONDS)


def _idle(settings: Settings, state: State, signals: Signals) -> tuple[State, bool]:
    """Whether there was nothing to do for so long that zero is right; remembers since when."""
    seen, replicas, now = signals.demand, signals.replicas, signals.now
    wakes = state.unready_since is not None and not _broken(settings, state, signals)
    came = replicas.asked > 0 and state.came
    if seen is None or (seen.partial and replicas.asked) or seen.in_flight or seen.held or came or wakes:
        return replace(state, idle_since=None), False
    since = now if state.idle_since is None or state.idle_since > now else state.idle_since
    long = now - since >= settings.idle_seconds
    return replace(state, idle_since=since), settings.least == 0 and (long or replicas.asked == 0)


def _broken(settings: Settings, state: State, signals: Signals) -> bool:
    """Whether what was asked for has had time enough, and none of it is ready: more of the same helps nobody."""
    since = state.unready_since
    return since is not None and signals.now - since >= _STARTS * _start(settings, signals)


def _start(settings: Settings, signals: Signals) -> float:
    return settings.estimate.cold_start if signals.cold_start is None else signals.cold_start


def _waking(state: State, signals: Signals) -> State:
    """Remember since when none of the replicas asked for is ready: nobody can be served, and that is not idleness."""
    if signals.replicas.ready or not signals.replicas.asked:
        return replace(state, unready_since=None)
    since = state.unready_since
    return replace(state, unready_since=signals.now if since is None or since > signals.now else since)


def _lowest(settings: Settings, state: State, signals: Signals) -> tuple[State, int]:
    """Return the fewest replicas that this step down allows; a step begins anew after its time."""
    behaviour, asked = settings.behaviour, signals.replicas.asked
    since = state.lowered_at
    if since is None or not 0 <= signals.now - since < behaviour.down_seconds:
        state = replace(state, lowered_at=signals.now, lowered_from=asked)
    start = max(asked, state.lowered_from)
    return state, min(asked, start - max(1, math.floor(start * behaviour.down_share)))


def _blind(signals: Signals) -> tuple[int, str]:
    """Demand cannot be seen: keep what there is, and grow while every engine seen is full and nothing starts yet."""
    replicas, engines = signals.replicas, signals.engines
    full = 2 * len(engines) > replicas.ready and all(engine.waiting for engine in engines.values())
    if full and engines and not replicas.starting and not replicas.unschedulable:
        return replicas.asked + max(1, math.ceil(replicas.asked * _MISSING_SHARE)), "blind"
    return replicas.asked, "missing"
