"""Our router: its own parser, prefix index, chooser and ledger, told what they are told in life, and as late.

Ends come with Envoy's access log, 20 ms late, with the times and token counts that it reports; the engines' counts come
once a second; nobody tells when a first token passes. While every engine is saturated, requests are held, in order: the
simulation has one tenant, and holds for as long as it takes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from affinity.policies.base import Fleet, Policy
from affinity.prompts import request
from manta_runtime.router.membership import Endpoint
from manta_runtime.router.picker.chooser import Chooser
from manta_runtime.router.picker.completions import End
from manta_runtime.router.picker.ledger import Ledger
from manta_runtime.router.picker.prompts import CHARS_PER_TOKEN, cached_tokens
from manta_runtime.router.picker.scrape import Look

if TYPE_CHECKING:
    from affinity.engine import Gauges, Job
    from affinity.traces import Ask


class Manta(Policy):
    """The router with its default policy."""

    ends_late_seconds = 0.02
    scrapes = True
    policy = "prefix"

    def __init__(self, fleet: Fleet) -> None:
        super().__init__(fleet)
        self._chooser = Chooser(self.policy)
        self._chooser.routers = fleet.routers
        self._ledger = Ledger(fleet.sequences)
        self._replicas = [f"traced-{engine}" for engine in range(fleet.engines)]
        self._numbers = {replica: number for number, replica in enumerate(self._replicas)}
        self._work: dict[Ask, int] = {}
        self._counted: dict[Ask, tuple[str, int, float]] = {}
        endpoints = [Endpoint(replica, replica, replica, usable=True) for replica in self._replicas]
        self._ledger.follow(endpoints, endpoints, frozenset())
        for replica in self._replicas:
            self._chooser.resize(replica, fleet.kv_tokens)

    def choose(self, ask: Ask, now: float) -> int | None:
        """Ask the real chooser, if some engine has room."""
        if not self._ledger.room:
            return None
        choice = self._chooser.choose(request(ask), self._ledger.candidates(now), now)
        if choice is None:
            raise RuntimeError("the chooser found nobody among candidates")
        replica = choice.candidate.replica
        self._counted[ask] = (replica, self._chooser.commit(request(ask), choice), now)
        self._work[ask] = choice.work
        return self._numbers[replica]

    def started(self, job: Job, now: float) -> None:
        """Count it."""
        work = self._work.pop(job.ask)
        self._ledger.placed(str(job.ask.index), self._replicas[job.engine], now, work=work, stream=True)

    def ended(self, job: Job, now: float) -> None:
        """Envoy's access log has come: the headers of a stream come at once, its data with the first token."""
        self._ledger.ended(
            End(
                str(job.ask.index),
                first_byte_ms=1,
                first_data_ms=round((job.first - job.arrived) * 1000),
                duration_ms=round((job.ended - job.arrived) * 1000),
                prompt_tokens=job.ask.prompt_tokens,
                completion_tokens=job.ask.output_tokens,
                cached_tokens=job.sequence.cached,
            ),
            now,
        )
        self._chooser.learned(request(job.ask), job.ask.prompt_tokens, job.ask.output_tokens)
        if job.ask in self._counted:
            replica, counted, at = self._counted.pop(job.ask)
            self._chooser.settled(replica, counted, job.ask.prompt_tokens, at)

    def scraped(self, engine: int, gauges: Gauges, now: float) -> None:
        """The scrape of the second."""
        look = Look(gauges.running, gauges.waiting, gauges.kv_usage, self.fleet.kv_tokens)
        self._ledger.observe(self._replicas[engine], look, now)


class MantaLeastLoad(Manta):
    """Our policy least-load."""

    policy = "least-load"


class MantaSimple(Manta):
    """The simple rule instead of expected times: the replica that holds the most of the prompt, within a bound.

    Longest match first; a replica with more than 1.25 times the mean of requests in flight (and one more) is passed
    over; among equals the one with the fewest. What it knows it knows from the same index and the same counts.
    """

    def choose(self, ask: Ask, now: float) -> int:
        """Match, bound, least load."""
        asked, index = request(ask), self._chooser.index
        candidates = self._ledger.candidates(now)
        held = index.match(asked.blocks)
        bound = 1.25 * (sum(c.load for c in candidates) + 1) / len(candidates) + 1
        best = min(candidates, key=lambda c: (c.load > bound, -held.get(c.replica, 0), c.load, c.last_pick)).replica
        rest = (asked.prompt_tokens - cached_tokens(len(asked.blocks))) * CHARS_PER_TOKEN
        index.insert(best, asked.blocks, max(0, rest))
        self._work[ask] = max(0, asked.prompt_tokens - cached_tokens(held.get(best, 0)))
        return self._numbers[best]
