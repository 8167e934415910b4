"""One simulated engine in virtual time: the scheduler and KV cache of `manta_runtime.simulator`, no waiting. Pure.

While nothing but decoding happens, the next steps differ only in the length of the contexts: they are taken together,
up to the next end of an answer, the next block that is needed, or the next arrival. The result is that of single steps.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from affinity.gpu import Gpu
from affinity.traces import BLOCK_TOKENS, Ask
from manta_runtime.simulator.scheduler import Limits, Scheduler, Sequence, Step


@dataclass(eq=False)
class Job:
    """A request in an engine; times in seconds, negative while unknown."""

    ask: Ask
    engine: int
    arrived: float
    sequence: Sequence
    scheduled: float = -1.0
    first: float = -1.0
    ended: float = -1.0


@dataclass(frozen=True, slots=True)
class Gauges:
    """What an engine's /metrics would say."""

    running: int
    waiting: int
    kv_usage: float


@dataclass
class Engine:
    """`kv_tokens` of cache in blocks of the trace. Call `submit`, and `advance` at the time `due` says."""

    index: int
    kv_tokens: int
    gpu: Gpu = field(default_factory=Gpu)
    sequences: int = 256
    step_tokens: int = 8192
    due: float = -1.0
    """When the steps under way end; negative when idle."""
    busy: float = 0.0
    computed: int = 0
    """Prompt tokens computed, not found in the cache; those computed again after a preemption too."""

    def __post_init__(self) -> None:
        limits = Limits(self.sequences, self.step_tokens, BLOCK_TOKENS, self.kv_tokens // BLOCK_TOKENS)
        self.scheduler = Scheduler(limits)
        self._jobs: dict[Sequence, Job] = {}
        self._step: Step | None = None
        self._steps = 1
        self._began = 0.0

    def fits(self, ask: Ask) -> bool:
        """Whether the cache can hold the whole request; vLLM refuses others."""
        return -(-(ask.prompt_tokens + ask.output_tokens) // BLOCK_TOKENS) <= self.scheduler.limits.blocks

    def gauges(self) -> Gauges:
        """Return what a scrape would see now."""
        cache = self.scheduler.cache
        return Gauges(len(self.scheduler.running), len(self.scheduler.waiting), cache.used / cache.total)

    def submit(self, ask: Ask, now: float) -> Job:
        """Let a request wait for its first step; `due` may come nearer."""
        names = ask.blocks[: ask.prompt_tokens // BLOCK_TOKENS]
        sequence = Sequence((), ask.prompt_tokens, ask.output_tokens, names=names)
        job = self._jobs[sequence] = Job(ask, self.index, now, sequence)
        self.scheduler.waiting.append(sequence)
        if self._step is None:
            self._begin(now)
        elif self._steps > 1:
            self._cut(now)
        return job

    def advance(self) -> list[Job]:
        """The steps under way have ended: return the jobs with a first token or an end, and begin the next steps."""
        step, now = self._step, self.due
        if step is None:
            raise RuntimeError(f"engine {self.index} is idle: advance it only when it is due")
        self.busy += now - self._began
        for sequence, _ in step.shares:
            sequence.computed += self._steps - 1
            sequence.generated += self._steps - 1
        self.computed += step.prefill_tokens
        told = []
        for sequence in self.scheduler.finish(step):
            job = self._jobs[sequence]
            if job.first < 0:
                job.first = now
                told.append(job)
            if sequence.done:
                job.ended = now
                del self._jobs[sequence]
                if job.first < now:
                    told.append(job)
        self._begin(now)
        return told

    def _begin(self, now: float) -> None:
        self._step = step = self.scheduler.plan()
        if step is None:
            self.due = -1.0
            return
        for sequence in step.admitted:
            job = self._jobs[sequence]
            if job.scheduled < 0:
                job.scheduled = now
        self._began, self._steps = now, self._alike(step)
        if self._steps > 1:
            self.due = now + self.gpu.decode(len(step.shares), step.context_tokens, self._steps)
        else:
            self.due = now + self.gpu.step(step)

    def _alike(self, step: Step) -> int:
        """How many steps like this one follow each other, this one included, if nobody comes."""
        if step.prefill_tokens or step.admitted or len(step.shares) < len(self.scheduler.running):
            return 1
        steps = 1 << 30
        for sequence, count in step.shares:
            if count != 1:
                return 1
            room = (sequence.filled + sequence.nameless) * BLOCK_TOKENS - sequence.computed
            steps = min(steps, sequence.length - sequence.generated, room)
        return max(1, steps)

    def _cut(self, now: float) -> None:
        """Somebody came: let the steps under way end with the one that runs now."""
        step = self._step
        if step is None:
            return
        shares, context = len(step.shares), step.context_tokens
        self._steps = min(self._steps, self.gpu.decode_steps(shares, context, now - self._began))
        self.due = self._began + self.gpu.decode(shares, context, self._steps)
