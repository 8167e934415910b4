"""The simulated engine in real time: steps of `scheduler.py` that take as long as `latency.py` says. Effects: waiting.

One task runs the steps, as vLLM's engine core does; whoever asked waits on its own job.
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from manta_runtime.simulator.answers import Answer, answer, tokenize
from manta_runtime.simulator.metrics import Metrics, Times
from manta_runtime.simulator.scheduler import Scheduler, Sequence

if TYPE_CHECKING:
    from manta_runtime.simulator.protocol import Asked
    from manta_runtime.simulator.scheduler import Step
    from manta_runtime.simulator.settings import Settings

# Behind by more than this (a busy machine, a frozen process) the engine goes on from now instead of catching up.
_LATE_SECONDS = 0.1


@dataclass(eq=False)
class Job:
    """One answer in the making; `grown` is set after every token."""

    sequence: Sequence
    answer: Answer
    asked: Asked
    arrived: float
    scheduled: float = 0.0
    first: float = 0.0
    last: float = 0.0
    grown: asyncio.Event = field(default_factory=asyncio.Event)


class Engine:
    """Runs jobs. After `kill` it computes nothing more and tells nobody."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._scheduler = Scheduler(settings.limits)
        self.metrics = Metrics(settings, self._scheduler)
        self._chance = random.Random(settings.seed)  # noqa: S311 - a simulation that must be repeatable
        self._jobs: dict[Sequence, Job] = {}
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to run steps."""
        self._task = asyncio.create_task(self._run())

    def kill(self) -> None:
        """Stop at once and in silence, as vLLM's engine core does when its process is ended."""
        if self._task:
            self._task.cancel()

    async def idle(self) -> None:
        """Wait until nothing runs or waits."""
        await self._idle.wait()

    @property
    def unfinished(self) -> int:
        """Answers that run or wait."""
        return len(self._jobs)

    def submit(self, asked: Asked, prompt: str, choice: int) -> Job:
        """Begin one answer."""
        natural = 0 if asked.ignore_eos else self._settings.answer_tokens
        # An adapter answers otherwise than its model: by its own name, so that whoever asked can still check the words.
        said = prompt if asked.model in self._settings.served_names else f"{asked.model}: {prompt}"
        found = answer(said, max_tokens=asked.max_tokens, natural=natural, stop=asked.stop, choice=choice)
        tokens = tokenize(prompt)
        generated = tuple(token for piece in found.pieces for token in tokenize(piece)[:1] or (0,))
        sequence = Sequence((*tokens, *generated), len(tokens), len(found.pieces))
        job = Job(sequence, found, asked, asyncio.get_running_loop().time())
        self._jobs[sequence] = job
        self._scheduler.add(sequence)
        self._idle.clear()
        self._wake.set()
        return job

    def abandon(self, job: Job) -> None:
        """The client has left: compute it no further. Does nothing for a complete one."""
        if self._jobs.pop(job.sequence, None):
            self._scheduler.drop(job.sequence)
            self.metrics.aborted()
            self._settle()

    async def _run(self) -> None:
        clock = asyncio.get_running_loop().time
        due = clock()
        while True:
            preempted = self._scheduler.preempted
            step = self._scheduler.plan()
            if step is None:
                self._wake.clear()
                await self._wake.wait()
                due = clock()
                continue
            for sequence in step.admitted:
                job = self._jobs[sequence]
                job.scheduled = job.scheduled or clock()
            seconds = self._settings.latency.seconds(
                len(step.shares), step.prefill_tokens, step.context_tokens, self._chance
            )
            due = max(due, clock() - _LATE_SECONDS) + seconds
            await asyncio.sleep(max(0.0, due - clock()))
            self.metrics.step(sum(count for _, count in step.shares), self._scheduler.preempted - preempted)
            self._finish(step, clock())

    def _finish(self, step: Step, now: float) -> None:
        for sequence in self._scheduler.finish(step):
            job = self._jobs[sequence]
            if sequence.generated == 1:
                job.first = now
                self.metrics.first_token(sequence, now - job.arrived)
            else:
                self.metrics.next_token(now - job.last)
            job.last = now
            if sequence.done:
                del self._jobs[sequence]
                times = Times(job.arrived, job.scheduled, job.first, job.last)
                self.metrics.ended(sequence, job.answer.finish_reason, times, job.asked.max_tokens, job.asked.n)
            job.grown.set()
        self._settle()

    def _settle(self) -> None:
        if not self._jobs:
            self._idle.set()
