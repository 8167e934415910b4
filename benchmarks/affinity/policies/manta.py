"""Our router: its own parser, prefix index and chooser, told as much as it is told in life."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from affinity.policies.base import Fleet, Policy
from affinity.policies.knowledge import Account
from affinity.prompts import request
from manta_runtime.router.picker.chooser import Chooser
from manta_runtime.router.picker.prompts import CHARS_BEFORE, CHARS_PER_TOKEN

if TYPE_CHECKING:
    from affinity.engine import Gauges, Job
    from affinity.traces import Ask
    from manta_runtime.router.picker.chooser import Choice
    from manta_runtime.router.picker.request import Request


class Manta(Policy):
    """A Chooser with the router's default policy."""

    ends_late_seconds = 0.02
    scrapes = True
    policy = "prefix"

    def __init__(self, fleet: Fleet) -> None:
        super().__init__(fleet)
        self._chooser = Chooser(self.policy)
        self._accounts = [Account(f"traced-{engine}") for engine in range(fleet.engines)]
        self._numbers = {account.replica: number for number, account in enumerate(self._accounts)}
        self._picks = 0
        self._chosen: Choice | None = None
        for account in self._accounts:
            self._chooser.resize(account.replica, fleet.kv_tokens)

    def choose(self, ask: Ask, now: float) -> int:
        """Ask the real chooser."""
        asked = self._request(ask)
        candidates = [account.candidate(now, self.fleet.sequences) for account in self._accounts]
        choice = self._chooser.choose(asked, candidates, now)
        if choice is None:
            raise RuntimeError("the chooser found nobody among candidates")
        self._chooser.commit(asked, choice)
        self._chosen = choice
        return self._numbers[choice.candidate.replica]

    def started(self, job: Job, now: float) -> None:
        """Count it, as the ledger does."""
        self._picks += 1
        uncached = self._chosen.uncached_tokens if self._chosen else 0
        self._accounts[job.engine].picked(job, uncached, self._picks, now)

    def ended(self, job: Job, now: float) -> None:
        """Envoy's access log has come."""
        self._accounts[job.engine].ended(job, now)

    def scraped(self, engine: int, gauges: Gauges, now: float) -> None:
        """The scrape of the second."""
        self._accounts[engine].scraped(gauges, now)

    def _request(self, ask: Ask) -> Request:
        return request(ask)


class MantaLeastLoad(Manta):
    """Our policy least-load."""

    policy = "least-load"


class MantaSimple(Manta):
    """The simple rule: the replica that holds the most of the prompt, unless its load is above a bound.

    Longest match first; a replica with more requests in flight than 1.25 times the mean, and one, is passed over; fewer
    requests in flight among equals. Everything that it knows it knows from the same index and the same counts.
    """

    def choose(self, ask: Ask, now: float) -> int:
        """Match, bound, least load."""
        asked = self._request(ask)
        candidates = [account.candidate(now, self.fleet.sequences) for account in self._accounts]
        choice = self._chooser.choose(asked, candidates, now)
        if choice is None:
            raise RuntimeError("the chooser found nobody among candidates")
        matches = self._chooser.index.match(asked.blocks)
        bound = 1.25 * (sum(c.load for c in candidates) + 1) / len(candidates) + 1
        best = min(candidates, key=lambda c: (c.load > bound, -matches.get(c.replica, 0), c.load, c.last_pick))
        choice = replace(choice, candidate=best, uncached_tokens=_uncached(asked, matches.get(best.replica, 0)))
        self._chooser.commit(asked, choice)
        self._chosen = choice
        return self._numbers[best.replica]


def _uncached(asked: Request, matched: int) -> int:
    return max(0, asked.prompt_tokens - CHARS_BEFORE[min(matched, len(CHARS_BEFORE) - 1)] // CHARS_PER_TOKEN)
