"""How answers are put into words of an API: whole, or event by event as they grow. Each dialect has a module.

`completions.py`: chat and text completions; `responses.py`, `messages.py`: OpenAI's Responses and Anthropic's Messages,
which vLLM also serves.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from manta_runtime.simulator.engine import Job
    from manta_runtime.simulator.protocol import Asked
    from manta_runtime.simulator.settings import Settings

Json = dict[str, Any]


@dataclass(frozen=True)
class Telling:
    """One answer to tell of: the body that asked, the jobs that make it, and what it is called."""

    settings: Settings
    body: Mapping[str, Any]
    asked: Asked
    jobs: list[Job]
    identity: str
    created: int

    @property
    def prompt_tokens(self) -> int:
        """Tokens of all prompts."""
        return sum(job.sequence.prompt_tokens for job in self.jobs[:: self.asked.n])

    @property
    def generated(self) -> int:
        """Tokens generated so far."""
        return sum(job.sequence.generated for job in self.jobs)

    @property
    def cached(self) -> tuple[int, int]:
        """Prompt tokens of the first prompt that were in the cache, and those that are there now because of it."""
        sequence, size = self.jobs[0].sequence, self.settings.limits.block_size
        created = sequence.prompt_tokens // size * size - sequence.cached
        return sequence.cached, max(0, created) if self.settings.limits.prefix_caching else 0


@dataclass(frozen=True)
class Dialect:
    """One API: how its body is read, and how its answers are told."""

    prefix: str
    read: Callable[[Mapping[str, Any], Settings], Asked]
    whole: Callable[[Telling], Json]
    events: Callable[[Telling], AsyncIterator[bytes]]
    refusal: Callable[[Json], Json] = dict


def compact(body: Any) -> str:
    """JSON as vLLM writes it."""
    return json.dumps(body, separators=(",", ":"))


def event(name: str, body: Json) -> bytes:
    """An event with a name."""
    return f"event: {name}\ndata: {compact(body)}\n\n".encode()


async def pieces(jobs: list[Job]) -> AsyncIterator[tuple[int, str, bool]]:
    """Text as it grows: the number of the job, what is new, and whether that is its last."""
    sent = [0] * len(jobs)
    while any(count < job.sequence.length for count, job in zip(sent, jobs, strict=True)):
        await _any_grown(jobs)
        for index, job in enumerate(jobs):
            have = job.sequence.generated
            if have > sent[index]:
                text = "".join(job.answer.pieces[sent[index] : have])
                sent[index] = have
                yield index, text, job.sequence.done


async def complete(jobs: list[Job]) -> None:
    """Wait until all of it is there."""
    for job in jobs:
        while not job.sequence.done:
            job.grown.clear()
            await job.grown.wait()


async def _any_grown(jobs: list[Job]) -> None:
    """Wait until one of the jobs has a token that was not there at the last call."""
    waiting = [job for job in jobs if not job.sequence.done or job.grown.is_set()]
    if len(waiting) == 1:
        await waiting[0].grown.wait()
    else:
        waits = [asyncio.ensure_future(job.grown.wait()) for job in waiting]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()
    for job in jobs:
        job.grown.clear()
