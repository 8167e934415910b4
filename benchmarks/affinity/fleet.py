"""The simulation: a trace, routers that each run a policy, and engines, in virtual time. Pure and deterministic.

Events are handled in order of time: ends of engine steps, what routers learn late (ends of answers, scrapes once a
second), arrivals. A request's time to first token runs from its arrival at the router; the network takes no time.
"""

from __future__ import annotations

import heapq
import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from affinity.engine import Engine, Job
from affinity.policies.base import Fleet, Policy

if TYPE_CHECKING:
    from affinity.traces import Ask

SCRAPE_SECONDS = 1.0
_STEP, _END, _SCRAPE = 0, 1, 2

Make = Callable[[Fleet], Policy]


@dataclass(frozen=True)
class Setup:
    """How many engines with how many tokens of KV cache, how many routers, and the seed of all chance."""

    engines: int = 8
    kv_tokens: int = 400_000
    routers: int = 1
    seed: int = 1


@dataclass(frozen=True)
class Outcome:
    """Every request as a job that has ended, the engines as they are afterwards, and those no engine could hold."""

    jobs: tuple[Job, ...]
    engines: tuple[Engine, ...]
    refused: int


class Simulation:
    """One run of one policy."""

    def __init__(self, setup: Setup, make: Make) -> None:
        self.engines = tuple(Engine(index, setup.kv_tokens) for index in range(setup.engines))
        self.routers = tuple(
            make(Fleet(setup.engines, setup.kv_tokens, setup.seed + router, self.engines[0].sequences, setup.routers))
            for router in range(setup.routers)
        )
        self._which = random.Random(setup.seed)  # noqa: S311 - a simulation that must be repeatable
        self._events: list[tuple[float, int, int, Any]] = []
        self._order = 0
        self._scheduled = [-1.0] * setup.engines
        self._router_of: dict[Job, Policy] = {}
        self._held: dict[Policy, deque[Ask]] = {router: deque() for router in self.routers}
        self._jobs: list[Job] = []

    def run(self, asks: Sequence[Ask]) -> Outcome:
        """Let every request come at its time, and go on until all have ended."""
        fitting = [ask for ask in asks if self.engines[0].fits(ask)]
        if any(router.scrapes for router in self.routers):
            for router in self.routers:
                # Routers do not scrape at the same moments.
                self._at(self._which.random() * SCRAPE_SECONDS, _SCRAPE, router)
        for ask in fitting:
            self._until(ask.at)
            self._arrive(ask)
        last = fitting[-1].at if fitting else 0.0
        while any(engine.due >= 0 for engine in self.engines) or any(self._held.values()):
            last = max(last, self._events[0][0])
            self._until(last)
        return Outcome(tuple(self._jobs), self.engines, len(asks) - len(fitting))

    def _arrive(self, ask: Ask) -> None:
        router = self.routers[self._which.randrange(len(self.routers))] if len(self.routers) > 1 else self.routers[0]
        self._held[router].append(ask)
        self._place(router, ask.at)

    def _place(self, router: Policy, now: float) -> None:
        """Send what the router holds, in order, as long as it chooses engines."""
        held = self._held[router]
        while held and (chosen := router.choose(held[0], now)) is not None:
            ask = held.popleft()
            job = self.engines[chosen].submit(ask, now)
            job.arrived = ask.at
            self._jobs.append(job)
            self._router_of[job] = router
            router.started(job, now)
            self._watch(self.engines[chosen])

    def _until(self, now: float) -> None:
        events = self._events
        while events and events[0][0] <= now:
            at, _, kind, what = heapq.heappop(events)
            if kind == _STEP:
                self._step(what, at)
            elif kind == _END:
                router = self._router_of.pop(what)
                router.ended(what, at)
                self._place(router, at)
            else:
                self._scrape(what, at)

    def _step(self, engine: Engine, at: float) -> None:
        if engine.due != at:
            return  # The steps were cut short by an arrival; another event tells their end.
        for job in engine.advance():
            router = self._router_of[job]
            if job.first == at:
                router.first_token(job, at)
            if job.ended == at:
                self._at(at + router.ends_late_seconds, _END, job)
        self._watch(engine)

    def _scrape(self, router: Policy, at: float) -> None:
        for engine in self.engines:
            router.scraped(engine.index, engine.gauges(), at)
        self._place(router, at)
        self._at(at + SCRAPE_SECONDS, _SCRAPE, router)

    def _watch(self, engine: Engine) -> None:
        if engine.due >= 0 and self._scheduled[engine.index] != engine.due:
            self._scheduled[engine.index] = engine.due
            self._at(engine.due, _STEP, engine)

    def _at(self, at: float, kind: int, what: object) -> None:
        self._order += 1
        heapq.heappush(self._events, (at, self._order, kind, what))
