"""Requests that are long enough to be in flight when something happens, and how each of them ended for its client."""

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any, Literal

import aiohttp

How = Literal["done", "error event", "broken", "silent", "status"]

_TIMEOUT = aiohttp.ClientTimeout(total=240)


@dataclass
class Ended:
    """How a request ended: `status` of the answer, its `body` (the last event of a stream), `tokens` that came.

    done: all of it came. error event: a stream said that it failed. broken: the connection did. silent: a stream ended
    as if it were whole, and was not. status: an error before anything of the answer.
    """

    how: How = "silent"
    status: int = 0
    body: Any = None
    tokens: int = 0


@dataclass
class InFlight:
    """Requests to one deployment; `begun` is set when the first token of every stream has come."""

    base: str
    model: str
    streams: list[asyncio.Task[Ended]] = field(default_factory=list)
    plain: list[asyncio.Task[Ended]] = field(default_factory=list)
    _first: list[asyncio.Event] = field(default_factory=list)

    def start(self, session: aiohttp.ClientSession, streams: int, plain: int, tokens: int) -> None:
        """Send them all; each asks for exactly so many tokens."""
        for number in range(streams):
            self._first.append(asyncio.Event())
            self.streams.append(asyncio.create_task(self._stream(session, number, tokens, self._first[-1])))
        self.plain += [asyncio.create_task(self._plain(session, number, tokens)) for number in range(plain)]

    async def begun(self, seconds: float) -> None:
        """Wait until every stream has had its first token. Raises TimeoutError."""
        async with asyncio.timeout(seconds):
            for event in self._first:
                await event.wait()

    async def ended(self) -> tuple[list[Ended], list[Ended]]:
        """Return how the streams and the plain ones ended."""
        return list(await asyncio.gather(*self.streams)), list(await asyncio.gather(*self.plain))

    def _question(self, number: int, tokens: int) -> dict[str, Any]:
        prompt = f"Tell me a story about the sea, number {number}."
        return {"model": self.model, "prompt": prompt, "max_tokens": tokens, "ignore_eos": True, "temperature": 0}

    async def _plain(self, session: aiohttp.ClientSession, number: int, tokens: int) -> Ended:
        try:
            body = self._question(number, tokens)
            async with session.post(f"{self.base}completions", json=body, timeout=_TIMEOUT) as response:
                answer = await response.json()
        except aiohttp.ClientError as error:
            return Ended("broken", body=repr(error))
        if response.status != 200:
            return Ended("status", response.status, answer)
        return Ended("done", 200, answer, answer["usage"]["completion_tokens"])

    async def _stream(self, session: aiohttp.ClientSession, number: int, tokens: int, first: asyncio.Event) -> Ended:
        ended = Ended()
        body = self._question(number, tokens) | {"stream": True, "stream_options": {"include_usage": True}}
        try:
            async with session.post(f"{self.base}completions", json=body, timeout=_TIMEOUT) as response:
                ended.status = response.status
                if response.status != 200:
                    return Ended("status", response.status, await response.json())
                async for line in response.content:
                    self._hear(ended, line.decode().strip().removeprefix("data: "))
                    first.set()
        except aiohttp.ClientError as error:
            ended.how, ended.body = "broken", repr(error)
        finally:
            first.set()
        return ended

    @staticmethod
    def _hear(ended: Ended, event: str) -> None:
        if event == "[DONE]" and ended.how == "silent":
            ended.how = "done"
        elif event.startswith("{"):
            ended.body = json.loads(event)
            if "error" in ended.body:
                ended.how = "error event"
            if usage := ended.body.get("usage"):
                ended.tokens = usage["completion_tokens"]
