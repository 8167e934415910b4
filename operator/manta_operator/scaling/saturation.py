"""Proof that there are too few replicas, whatever they are believed to be able to do. Pure.

    waiting    = held by routers + min(waiting in engines, in flight through routers)
    saturated  = a router holds requests although replicas are ready,
                 or some wait in most engines of those that are ready: one in each whose places are taken, two in others
    floor      = asked                                                     at the first look that sees it
               = max(asked, ready x (running + waiting) / running)         from the second on
                 with ready + 1 <= the latter <= 2 x ready

Estimates are slow to be found wrong, queues are not: two looks that see one ask for more, and nothing is taken away
until it is gone. What starts already counts, so a queue is answered once a start, by as much as it says, and at most by
doubling. What engines say is believed only as far as the routers agree: no more waits in them than was sent there.
"""

import math
from dataclasses import replace

from manta_operator.scaling.signals import Signals
from manta_operator.scaling.state import State

_MOST = 2.0
_QUEUED = 2
"""Requests in an engine with free places that are a queue: one waits for the next step at two looks by chance."""
_SKEW = 10
"""Requests by which two looks at the same may differ, taken a second apart."""


def waiting(signals: Signals) -> int:
    """Return the requests that nobody computes yet: held by routers, or waiting in engines."""
    inside = sum(engine.waiting for engine in signals.engines.values())
    if signals.demand is None:
        return inside
    return signals.demand.held + min(inside, signals.demand.in_flight)


def contradicted(signals: Signals) -> bool:
    """Whether engines say that far more waits in them than the routers sent: some lie, and nothing is to be learned."""
    if signals.demand is None:
        return False
    return sum(engine.waiting for engine in signals.engines.values()) > 2 * signals.demand.in_flight + _SKEW


def saturated(signals: Signals, places: int | None) -> bool:
    """Whether there is no room for what comes: requests are held, or wait in most engines, more than by chance.

    Args:
        signals: Of now.
        places: The most that an engine computes at once; None: not known.
    """
    ready, engines, demand = signals.replicas.ready, signals.engines, signals.demand
    if not ready:
        return False
    if demand is not None and demand.held > 0:
        return True
    queued = [engine for engine in engines.values() if engine.waiting]
    taken = sum(places is not None and engine.running >= places for engine in queued)
    return 2 * len(queued) > ready and waiting(signals) >= _QUEUED * len(queued) - taken


def watch(state: State, signals: Signals, places: int | None) -> State:
    """Remember since when it is saturated; `places`: the most that an engine computes at once."""
    if not saturated(signals, places):
        return replace(state, saturated_since=None)
    since = state.saturated_since
    since = signals.now if since is None or since > signals.now else since
    return replace(
        state, saturated_since=since, saturated_at=signals.now if since < signals.now else state.saturated_at
    )


def doubtful(state: State) -> bool:
    """Whether only the last look saw it: the next one proves it, and is worth coming sooner."""
    since = state.saturated_since
    return since is not None and (state.saturated_at is None or state.saturated_at < since)


def lately(state: State, now: float, seconds: float) -> bool:
    """Whether it was saturated within so many seconds: what that asked for was a need, and is kept like any other."""
    return state.saturated_at is not None and 0 <= now - state.saturated_at < seconds


def floor(state: State, signals: Signals) -> int:
    """Return the fewest replicas that may be asked for; 0 where nothing is saturated."""
    if state.saturated_since is None:
        return 0
    ready, asked = signals.replicas.ready, signals.replicas.asked
    if state.saturated_since >= signals.now:
        return asked
    running = max(ready, sum(engine.running for engine in signals.engines.values()))
    wanted = math.ceil(ready * (running + waiting(signals)) / running)
    return max(asked, min(math.floor(_MOST * ready), max(ready + 1, wanted)))
