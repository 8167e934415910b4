"""What goes with each replica if it is pruned, from what the routers said last: for `planning.victims`. Pure.

A cache's savings are a counter since its engine started; what it saved lately is the difference to what it had saved
HIT_SECONDS ago. So a value now and then is kept of each engine.
"""

from collections.abc import Mapping
from typing import NamedTuple

from manta_operator.planning.victims import HIT_SECONDS, Loss
from manta_operator.scaling.reading import Engine

SAMPLE_SECONDS = 30.0
"""How far apart what is kept is at least."""


class Saved(NamedTuple):
    """What the cache of one engine had saved, and when (s), the oldest first; `last` is of the last look."""

    instance: str
    samples: tuple[tuple[float, float], ...]
    last: float
    in_flight: int


def remember(kept: Mapping[str, Saved], looks: Mapping[str, Engine], now: float) -> dict[str, Saved]:
    """Take in a look at the engines, by name of the replica; those that are not seen any more are forgotten."""
    return {name: _next(kept.get(name), look, now) for name, look in looks.items()}


def _next(before: Saved | None, look: Engine, now: float) -> Saved:
    hits = look.hit_tokens or 0.0
    if before is None or before.instance != look.instance or hits < before.last:
        return Saved(look.instance, ((now, 0.0 if before else hits),), hits, look.in_flight)
    samples = before.samples
    if now - samples[-1][0] >= SAMPLE_SECONDS:
        samples = (*(each for each in samples if now - each[0] <= HIT_SECONDS), (now, hits))
    return Saved(look.instance, samples, hits, look.in_flight)


def losses(kept: Mapping[str, Saved], loads: Mapping[str, int] | None) -> Mapping[str, Loss] | None:
    """Return what goes with each replica, by name of the group; None: nothing is known of caches.

    Args:
        kept: What was remembered.
        loads: Requests in flight as asked for just now; None: not known, then as of the last look.
    """
    if not kept:
        return None
    names = {*kept, *(loads or {})}
    return {name: _loss(name, kept.get(name), loads) for name in names}


def _loss(name: str, saved: Saved | None, loads: Mapping[str, int] | None) -> Loss:
    flying = saved.in_flight if saved else 0
    if loads is not None:
        flying = loads.get(name, 0)
    return Loss(flying, max(0.0, saved.last - saved.samples[0][1]) if saved else 0.0)
