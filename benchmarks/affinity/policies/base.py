"""What a router's policy is told in the simulation, and what it answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from affinity.engine import Gauges, Job
    from affinity.traces import Ask


@dataclass(frozen=True)
class Fleet:
    """What a policy knows from the start: how many engines there are, their capacity, the seed of its chance."""

    engines: int
    kv_tokens: int
    seed: int
    sequences: int = 256
    routers: int = 1


class Policy:
    """One router. Times are in seconds of the simulation; a router sees its own requests only."""

    ends_late_seconds = 0.0
    """How long after the end of an answer `ended` is called: a proxy written in one piece sees it at once."""
    scrapes = False
    """Whether `scraped` is called, once a second for every engine."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self.in_flight = [0] * fleet.engines

    def choose(self, ask: Ask, now: float) -> int | None:
        """Return the number of the engine that gets the request; None to hold it until an end or a scrape."""
        raise NotImplementedError

    def started(self, job: Job, _now: float) -> None:
        """The request has been sent."""
        self.in_flight[job.engine] += 1

    def first_token(self, job: Job, now: float) -> None:
        """The first token of the answer has passed."""

    def ended(self, job: Job, _now: float) -> None:
        """The answer is complete."""
        self.in_flight[job.engine] -= 1

    def scraped(self, engine: int, gauges: Gauges, now: float) -> None:
        """An engine's metrics have been read."""
