"""One replica in virtual time: vLLM's scheduler as counts, so that a step costs the same whatever the batch. Pure.

The rules of vLLM 0.32's scheduler as `manta_runtime.simulator.scheduler` has them: a budget of tokens per step, running
sequences first, then waiting ones in order of arrival, long prompts in chunks. Left out: prefix caching, and preemption
(a request holds its whole length from the start, so that the cache never runs out under it). While nothing but decoding
happens, steps are taken together up to the next end or arrival, with the result of single steps.
"""

import heapq
from bisect import bisect_left
from collections import deque
from dataclasses import dataclass, field

from manta_operator.scaling.simulation.model import EngineModel
from manta_operator.scaling.simulation.trace import Request


@dataclass(eq=False, slots=True)
class Job:
    """A request on its way; times in seconds, negative while unknown. `computed`: tokens; `order` breaks ties."""

    request: Request
    order: int = 0
    computed: int = 0
    first: float = -1.0
    ended: float = -1.0


BETWEEN_BOUNDS = (
    0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0,
)  # fmt: skip
"""vLLM's own buckets of the time between tokens (s)."""


@dataclass(slots=True)
class Counters:
    """What the engine's counters say since it started. `first_tokens`: times from arrival to the first token (s)."""

    prompt_tokens: int = 0
    generated_tokens: int = 0
    first_tokens: list[float] = field(default_factory=list)
    token_seconds: float = 0.0
    """Time between tokens, summed over all of them (s)."""
    between: list[int] = field(default_factory=lambda: [0] * (len(BETWEEN_BOUNDS) + 1))
    """How many of those times fell into each bucket."""


class Replica:
    """One copy of the model. Call `submit`, and `advance` at the time `due` says; `due` is negative when idle."""

    __slots__ = (
        "_began", "_chunks", "_context", "_decoding", "_prefilling", "_step", "_steps", "busy", "counters",
        "drained_at", "draining", "due", "held_tokens", "index", "model", "ready_at", "running", "started_at",
        "stopped_at", "todo", "waiting",
    )  # fmt: skip

    def __init__(self, index: int, model: EngineModel, started_at: float, ready_at: float) -> None:
        self.index, self.model, self.started_at, self.ready_at = index, model, started_at, ready_at
        self.stopped_at = self.drained_at = -1.0
        self.draining = False
        self.due = -1.0
        self.busy = 0.0
        self.waiting: deque[Job] = deque()
        self.running = 0
        self.held_tokens = 0
        self.todo = 0
        """Prompt tokens not yet computed, of running and waiting requests."""
        self.counters = Counters()
        self._prefilling: deque[Job] = deque()
        self._decoding: list[tuple[int, int, Job]] = []
        self._context = 0
        self._step = 0
        self._steps = 1
        self._chunks: tuple[tuple[Job, int], ...] = ()
        self._began = 0.0

    @property
    def in_flight(self) -> int:
        """Requests that it runs or that wait in it."""
        return self.running + len(self.waiting)

    def submit(self, job: Job, now: float) -> None:
        """Let a request wait for its first step; `due` may come nearer."""
        self.waiting.append(job)
        self.todo += job.request.prompt_tokens
        if self.due < 0:
            self._begin(now)
        elif self._steps > 1:
            decoding = len(self._decoding)
            self._steps = min(self._steps, self.model.decode_steps(decoding, self._context, now - self._began))
            self.due = self._began + self.model.decode(decoding, self._context, self._steps)

    def advance(self) -> list[Job]:
        """The steps under way have ended: return the jobs that have, and begin the next steps."""
        now, decoding = self.due, len(self._decoding)
        self.busy += now - self._began
        self._step += self._steps
        self._context += decoding * self._steps
        self.counters.generated_tokens += decoding * self._steps
        self.counters.token_seconds += decoding * (now - self._began)
        self.counters.between[bisect_left(BETWEEN_BOUNDS, (now - self._began) / self._steps)] += decoding * self._steps
        ended = []
        while self._decoding and self._decoding[0][0] <= self._step:
            _, _, job = heapq.heappop(self._decoding)
            self._context -= job.request.prompt_tokens + job.request.output_tokens - 1
            ended.append(job)
        for job, count in self._chunks:
            job.computed += count
            self.todo -= count
            if job.computed >= job.request.prompt_tokens:
                self._first_token(job, now, ended)
        for job in ended:
            job.ended = now
            self.running -= 1
            self.held_tokens -= job.request.prompt_tokens + job.request.output_tokens
        self._begin(now)
        return ended

    def _first_token(self, job: Job, now: float, ended: list[Job]) -> None:
        self._prefilling.remove(job)
        job.first = now
        request, counters = job.request, self.counters
        counters.prompt_tokens += request.prompt_tokens
        counters.generated_tokens += 1
        counters.first_tokens.append(now - request.at)
        if request.output_tokens == 1:
            ended.append(job)
            return
        heapq.heappush(self._decoding, (self._step + request.output_tokens - 1, job.order, job))
        self._context += request.prompt_tokens

    def _begin(self, now: float) -> None:
        self._began = now
        model, decoding = self.model, len(self._decoding)
        budget = model.step_tokens - decoding
        chunks: list[tuple[Job, int]] = []
        for job in self._prefilling:
            if budget <= 0:
                break
            budget -= self._chunk(job, budget, chunks)
        while self.waiting and budget > 0 and self.running < model.sequences:
            job = self.waiting[0]
            length = job.request.prompt_tokens + job.request.output_tokens
            if self.held_tokens + length > model.kv_tokens:
                break
            self.waiting.popleft()
            self.held_tokens += length
            self.running += 1
            self._prefilling.append(job)
            budget -= self._chunk(job, budget, chunks)
        self._chunks = tuple(chunks)
        self._plan_end(now, decoding)

    def _plan_end(self, now: float, decoding: int) -> None:
        if not self._chunks and not decoding:
            self.due = -1.0
            return
        if not self._chunks:
            self._steps = self._decoding[0][0] - self._step
            self.due = now + self.model.decode(decoding, self._context, self._steps)
            return
        self._steps = 1
        tokens, pairs = 0, 0.0
        for job, count in self._chunks:
            tokens += count
            pairs += count * (job.computed + count / 2)
        self.due = now + self.model.step(decoding + len(self._chunks), tokens, pairs, self._context)

    @staticmethod
    def _chunk(job: Job, budget: int, chunks: list[tuple[Job, int]]) -> int:
        count = min(budget, job.request.prompt_tokens - job.computed)
        chunks.append((job, count))
        return count
