"""What one of our routers knows of the engines, as late as it learns it: the values of a decision. Pure.

Own requests are counted when sent and taken out when Envoy reports their end (20 ms late). Once a second the engine's own
counts come in: what they have more than we know of came through other routers. When the first byte of an answer passes,
nobody tells; prompt tokens still to be computed are estimated: those sent, less what the engine computes in the
meantime at the rate learned from earlier answers, less those of requests that have ended or that were sent before them.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from manta_runtime.router.picker.core import Candidate

if TYPE_CHECKING:
    from affinity.engine import Gauges, Job

_LEARN = 0.1
_ENOUGH_TOKENS = 1024


@dataclass
class _Sent:
    job: Job
    at: float
    tokens: float
    alone: bool
    """Whether nothing was pending when it was sent: then its time tells the rate."""


@dataclass
class Account:
    """One engine, seen from one router."""

    replica: str
    open: int = 0
    foreign: int = 0
    last_pick: int = 0
    rate: float = 0.0
    gauges: tuple[int, int, float] = (0, 0, 0.0)
    pending: deque[_Sent] = field(default_factory=deque)
    sent: dict[Job, _Sent] = field(default_factory=dict)
    clock: float = 0.0

    def candidate(self, now: float, capacity: int) -> Candidate:
        """Return the engine as a candidate of a choice at `now`."""
        self.drain(now)
        running, waiting, usage = self.gauges
        return Candidate(
            self.replica,
            self.replica,
            load=self.open + self.foreign,
            last_pick=self.last_pick,
            running=max(running, self.open) if not waiting else running,
            waiting=waiting,
            kv_usage=usage,
            pending_tokens=round(sum(sent.tokens for sent in self.pending)),
            prefill_rate=self.rate,
            capacity=capacity,
        )

    def picked(self, job: Job, uncached: int, pick: int, now: float) -> None:
        """A request has been sent."""
        self.drain(now)
        sent = _Sent(job, now, uncached, alone=not self.pending)
        self.pending.append(sent)
        self.sent[job] = sent
        self.open += 1
        self.last_pick = pick

    def ended(self, job: Job, now: float) -> None:
        """Envoy has reported the end: the times and token counts of the request are known now."""
        self.drain(now)
        self.open -= 1
        sent = self.sent.pop(job)
        if sent in self.pending:
            while self.pending.popleft() is not sent:
                pass
        computed = job.ask.prompt_tokens - job.sequence.cached
        if sent.alone and computed >= _ENOUGH_TOKENS:
            rate = computed / (job.first - job.arrived)
            self.rate = rate if not self.rate else self.rate + _LEARN * (rate - self.rate)

    def scraped(self, gauges: Gauges, now: float) -> None:
        """The engine has told its counts."""
        self.drain(now)
        self.gauges = gauges.running, gauges.waiting, gauges.kv_usage
        self.foreign = max(0, gauges.running + gauges.waiting - self.open)

    def drain(self, now: float) -> None:
        """Let the engine compute at the rate known, oldest first."""
        left = (now - self.clock) * self.rate
        self.clock = now
        while self.pending and left > 0:
            first = self.pending[0]
            if first.tokens > left:
                first.tokens -= left
                return
            left -= first.tokens
            self.pending.popleft()
