"""Policies that do not look at prompts: round robin, at random, least requests in flight.

Least load is KubeAI's (`internal/loadbalancer/balance_least_load.go`, commit f442a2c): the first lowest count while
iterating over a Go map, whose order is random.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from affinity.policies.base import Fleet, Policy

if TYPE_CHECKING:
    from affinity.traces import Ask


class RoundRobin(Policy):
    """One after the other; routers begin at different engines."""

    def __init__(self, fleet: Fleet) -> None:
        super().__init__(fleet)
        self._next = fleet.seed

    def choose(self, _ask: Ask, _now: float) -> int:
        """Return the engine after the last one."""
        self._next += 1
        return self._next % self.fleet.engines


class AtRandom(Policy):
    """Any engine, equally likely."""

    def __init__(self, fleet: Fleet) -> None:
        super().__init__(fleet)
        self._chance = random.Random(fleet.seed)  # noqa: S311 - a simulation that must be repeatable

    def choose(self, _ask: Ask, _now: float) -> int:
        """Return any engine."""
        return self._chance.randrange(self.fleet.engines)


class LeastLoad(AtRandom):
    """The engine with the fewest of this router's requests in flight; any of them when there are several."""

    def choose(self, _ask: Ask, _now: float) -> int:
        """Return one of the least loaded."""
        lowest = min(self.in_flight)
        return self._chance.choice([engine for engine, load in enumerate(self.in_flight) if load == lowest])
