"""Killing an engine while requests run, and counting what became of every one of them."""

import asyncio
import contextlib
from collections import Counter
from dataclasses import dataclass, field

import openai
import psutil

from demonstration.chat import Chat
from demonstration.tell import DemoFailed

CLIENTS = 4


@dataclass
class Outcome:
    """What became of the requests: answered by whom, and the words of the errors."""

    answered: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)

    def copy(self) -> "Outcome":
        """Return the counts as they are now."""
        return Outcome(Counter(self.answered), Counter(self.failed))

    def since(self, before: "Outcome") -> "Outcome":
        """Return what was counted after `before` was."""
        return Outcome(self.answered - before.answered, self.failed - before.failed)


class Load:
    """A few clients that ask one question after the other."""

    def __init__(self, chat: Chat) -> None:
        self.outcome = Outcome()
        self._chat = chat
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Start the clients."""
        self._tasks = [asyncio.create_task(self._client(number)) for number in range(CLIENTS)]

    async def stop(self) -> Outcome:
        """Let every client finish the request it is at; return what became of all of them."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        return self.outcome

    async def _client(self, number: int) -> None:
        while True:
            # Shielded: a request that has begun is counted even if the load stops meanwhile.
            request = asyncio.ensure_future(self._one(f"Tell me a story about the sea, number {number}."))
            try:
                await asyncio.shield(request)
            except asyncio.CancelledError:
                await request
                raise

    async def _one(self, question: str) -> None:
        try:
            answer = await self._chat.streamed(question, max_tokens=64)
            self.outcome.answered[answer.replica] += 1
        except openai.APIError as error:
            self.outcome.failed[f"{type(error).__name__}: {str(error)[:90]}"] += 1
            await asyncio.sleep(0.5)


def engine_of(address: str) -> psutil.Process:
    """Return the process of vLLM's API server on this pod address. Raises DemoFailed if there is none."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            command = process.cmdline()
            if "vllm.entrypoints.openai.api_server" in command and address in " ".join(command):
                return process
    raise DemoFailed(f"no vLLM process serves on {address}")
