"""A replica whose steps are planned by the engine simulator's own scheduler, block by block, sequence by sequence.

In the place of `scaling/simulation/replica.py` (by `Setup.engine`), so that the same fleet, router and policies run
both. It has what that leaves out: blocks, preemption when the cache runs out under growing answers, steps one by one,
and steps that vary (`jitter`). Operator and runtime share no code; benchmarks may look at both.
"""

from __future__ import annotations

import random
from bisect import bisect_left
from collections import deque
from typing import TYPE_CHECKING

from manta_operator.scaling.simulation.replica import BETWEEN_BOUNDS, Job, Replica
from manta_runtime.simulator.latency import LatencyModel
from manta_runtime.simulator.scheduler import Limits, Scheduler, Sequence

if TYPE_CHECKING:
    from manta_operator.scaling.simulation.model import EngineModel
    from manta_runtime.simulator.scheduler import Step

BLOCK = 16


class Reference(Replica):
    """Told and asked like a `Replica`. `jitter`: largest relative deviation of a step."""

    jitter = 0.0

    def __init__(self, index: int, model: EngineModel, started_at: float, ready_at: float) -> None:
        super().__init__(index, model, started_at, ready_at)
        limits = Limits(model.sequences, model.step_tokens, BLOCK, model.kv_tokens // BLOCK, prefix_caching=False)
        self.scheduler = Scheduler(limits)
        self.latency = latency(model, self.jitter)
        self.chance = random.Random(index)  # noqa: S311 - a simulation that must be repeatable
        self.jobs: dict[Sequence, Job] = {}
        self.last: dict[Sequence, float] = {}
        """When each had its last token (s)."""
        self.step: Step | None = None

    def submit(self, job: Job, now: float) -> None:
        """Let a request wait for its first step."""
        sequence = Sequence((), job.request.prompt_tokens, job.request.output_tokens)
        self.jobs[sequence] = job
        self.scheduler.add(sequence)
        self.todo += job.request.prompt_tokens
        self._count()
        if self.due < 0:
            self._begin(now)

    def advance(self) -> list[Job]:
        """The step under way has ended: return the jobs that have, and begin the next step."""
        now, ended = self.due, []
        if self.step is None:
            return []
        for sequence, count in self.step.shares:
            if sequence.computed < sequence.prompt_tokens and not sequence.preemptions:
                self.todo -= count
                self.jobs[sequence].computed += count
        for sequence in self.scheduler.finish(self.step):
            job = self.jobs[sequence]
            self.counters.generated_tokens += 1
            if sequence.generated == 1:
                job.first = now
                self.counters.prompt_tokens += sequence.prompt_tokens
                self.counters.first_tokens.append(now - job.request.at)
            else:
                self.counters.between[bisect_left(BETWEEN_BOUNDS, now - self.last[sequence])] += 1
            self.last[sequence] = now
            if sequence.done:
                job.ended = now
                ended.append(self.jobs.pop(sequence))
                del self.last[sequence]
        self._begin(now)
        return ended

    def _begin(self, now: float) -> None:
        self.step = step = self.scheduler.plan()
        self._count()
        if step is None:
            self.due = -1.0
            return
        self.due = now + self.latency.seconds(len(step.shares), step.prefill_tokens, step.context_tokens, self.chance)

    def _count(self) -> None:
        self.running = len(self.scheduler.running)
        self.waiting = deque(self.jobs[sequence] for sequence in self.scheduler.waiting)
        self.held_tokens = self.scheduler.cache.used * BLOCK


def latency(model: EngineModel, jitter: float) -> LatencyModel:
    """Return the engine simulator's latency model with the terms of ours; it has none for pairs of tokens."""
    return LatencyModel(
        model.fixed, model.per_sequence, model.per_prefill_token, model.per_context_token, jitter, model.speed
    )
