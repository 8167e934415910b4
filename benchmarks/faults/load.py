"""Requests at a fixed rate through the router, half of them streams, and what became of each of them.

An open loop, but bounded: where so many are under way that the engines are behind, the next is left out and counted.
"""

import asyncio
import json
import time
from dataclasses import dataclass
from typing import Any, Literal, Self

import aiohttp

Fate = Literal["ok", "failed", "broken_before", "broken_after", "short", "hung"]
FATES: tuple[Fate, ...] = ("failed", "broken_before", "broken_after", "short", "hung")
"""What is lost. failed: an error status, or a plain answer that never came; broken_before, broken_after: a stream that
broke off, or ended with an error event, before or after its first token; short: too few tokens; hung: silence."""

HANG_SECONDS = 150.0
"""Silence of a request for this long is a hang, which fails the run: a frozen rank is noticed after a minute."""
_MOST_OPEN = 24
_STREAM_TOKENS, _PLAIN_TOKENS = 200, 12
_REPLICA_HEADER = "x-manta-replica"


@dataclass
class Request:
    """One request; times on the monotonic clock, in seconds. `ended` is 0 while it runs."""

    number: int
    stream: bool
    began: float
    replica: str = ""
    tokens: int = 0
    ended: float = 0.0
    fate: Fate = "ok"
    detail: str = ""

    @property
    def flows(self) -> bool:
        """Whether it is a stream in the middle of its answer."""
        return self.stream and self.tokens > 0 and not self.ended

    def body(self, model: str) -> dict[str, Any]:
        """The JSON to send."""
        tokens = _STREAM_TOKENS if self.stream else _PLAIN_TOKENS
        question = f"Tell me story number {self.number} about the sea."
        asked = {"model": model, "messages": [{"role": "user", "content": question}], "max_tokens": tokens}
        counted = {"stream_options": {"include_usage": True}} if self.stream else {}
        return asked | counted | {"stream": self.stream, "ignore_eos": True, "temperature": 0}


class Load:
    """Sends `rate` requests a second to `url` for `model` within `async with`."""

    def __init__(self, url: str, model: str, rate: float) -> None:
        self._url, self._model, self._rate = url, model, rate
        self._tasks: set[asyncio.Task[None]] = set()
        self.requests: list[Request] = []
        self.left_out = 0

    async def __aenter__(self) -> Self:
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=HANG_SECONDS)
        self._session = aiohttp.ClientSession(timeout=timeout, connector=aiohttp.TCPConnector(limit=0))
        self._sender = asyncio.create_task(self._send_for_ever())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._sender.cancel()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(self._sender, *self._tasks, return_exceptions=True)
        await self._session.close()

    async def settle(self, before: float) -> None:
        """Wait until every request that began before that time has ended, as each does: a hang is an end, too."""
        while any(not request.ended and request.began < before for request in self.requests):
            await asyncio.wait(self._tasks, timeout=1, return_when=asyncio.FIRST_COMPLETED)

    async def _send_for_ever(self) -> None:
        number, due = 0, time.monotonic()
        while True:
            if len(self._tasks) < _MOST_OPEN:
                request = Request(number, stream=number % 2 == 0, began=time.monotonic())
                self.requests.append(request)
                task = asyncio.create_task(self._send(request))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
            else:
                self.left_out += 1
            number += 1
            due = max(due + 1 / self._rate, time.monotonic())
            await asyncio.sleep(due - time.monotonic())

    async def _send(self, request: Request) -> None:
        try:
            async with self._session.post(self._url, json=request.body(self._model)) as response:
                request.replica = response.headers.get(_REPLICA_HEADER, "")
                if response.status != 200:
                    request.fate, request.detail = "failed", f"HTTP {response.status}: {(await response.text())[:200]}"
                elif request.stream:
                    await _read_stream(response, request)
                else:
                    request.tokens = (await response.json())["usage"]["completion_tokens"]
                    _count(request, _PLAIN_TOKENS)
        except TimeoutError as error:
            request.fate, request.detail = "hung", str(error)
        except (aiohttp.ClientError, ConnectionError, ValueError, LookupError, TypeError) as error:
            request.fate, request.detail = _broken(request), f"{type(error).__name__}: {error}"[:200]
        finally:
            request.ended = time.monotonic()


async def _read_stream(response: aiohttp.ClientResponse, request: Request) -> None:
    done = False
    async for line in response.content:
        data = line.removeprefix(b"data: ").strip()
        if not data or data == b"[DONE]":
            done = done or bool(data)
            continue
        event = json.loads(data)
        if "error" in event:
            request.fate, request.detail = _broken(request), f"error event: {event['error'].get('message')}"[:200]
            return
        request.tokens += len(event["choices"])
        if event.get("usage"):
            request.tokens = event["usage"]["completion_tokens"]
    if done:
        _count(request, _STREAM_TOKENS)
    else:
        request.fate, request.detail = _broken(request), "the stream ended without [DONE]"


def _broken(request: Request) -> Fate:
    if not request.stream:
        return "failed"
    return "broken_after" if request.tokens else "broken_before"


def _count(request: Request, least: int) -> None:
    if request.tokens < least:
        request.fate, request.detail = "short", f"{request.tokens} tokens, at least {least} were due"
