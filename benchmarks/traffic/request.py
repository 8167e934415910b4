"""One request: sent, read to its end, compared with the only right answer, and judged."""

import asyncio
import json
import random
import time
from dataclasses import dataclass
from typing import Any, Literal

import aiohttp

from manta_runtime.simulator.answers import answer
from manta_runtime.simulator.protocol import render_chat

Fate = Literal["ok", "lost", "failed", "truncated"]

TIMEOUT = aiohttp.ClientTimeout(total=90, sock_connect=10)
REPLICA_HEADER = "x-manta-replica"
_BROKEN = (aiohttp.ClientError, TimeoutError, ConnectionError)


@dataclass(frozen=True)
class Request:
    """What is asked. `fresh`: over a connection of its own; else over one that is kept."""

    id: str
    tokens: int
    stream: bool
    fresh: bool

    @property
    def messages(self) -> list[dict[str, str]]:
        """The chat."""
        return [{"role": "user", "content": f"Tell me about {self.id}."}]

    def body(self, model: str) -> dict[str, Any]:
        """The JSON to send; the simulator enters `user` into its journal."""
        counted = {"stream_options": {"include_usage": True}} if self.stream else {}
        asked = {"model": model, "messages": self.messages, "max_tokens": self.tokens, "stream": self.stream}
        return asked | counted | {"user": self.id, "ignore_eos": True}

    def expected(self) -> str:
        """The only right answer."""
        return answer(render_chat(self.messages), max_tokens=self.tokens, natural=0).text


@dataclass(frozen=True)
class Outcome:
    """What became of a request. Times in seconds: `started` on the monotonic clock, `took` to the end of the answer.

    `first`: to the first token of a stream, None where none came. `refused`: with 429 or 503, and Retry-After.
    """

    request: Request
    fate: Fate
    detail: str
    started: float
    took: float
    replica: str = ""
    first: float | None = None
    refused: bool = False


def make_request(number: int, run: str, chance: random.Random) -> Request:
    """Return the request of that number: half are streamed, half come on fresh connections, one in 20 is long."""
    tokens = chance.randint(300, 600) if chance.random() < 0.05 else chance.randint(4, 48)
    return Request(f"{run}-{number}", tokens, stream=chance.random() < 0.5, fresh=chance.random() < 0.5)


async def send(
    session: aiohttp.ClientSession, url: str, model: str, request: Request, within: aiohttp.ClientTimeout = TIMEOUT
) -> Outcome:
    """Send, wait at most `within`, and judge. Never raises for what goes wrong on the way."""
    started, seen = time.monotonic(), _Seen()
    try:
        async with session.post(f"{url}/v1/chat/completions", json=request.body(model), timeout=within) as response:
            seen.any = True
            seen.replica = response.headers.get(REPLICA_HEADER, "")
            if response.status != 200:
                seen.refused = response.status in (429, 503) and "Retry-After" in response.headers
                fate, detail = _refused(response.status, await response.read())
            elif request.stream:
                fate, detail = await _read_stream(response, request, seen)
            else:
                fate, detail = _judge_whole(await response.read(), request)
    except _BROKEN as error:
        fate, detail = ("truncated" if seen.any else "lost"), f"{type(error).__name__}: {error}"[:160]
    first = seen.first - started if seen.first is not None else None
    return Outcome(request, fate, detail, started, time.monotonic() - started, seen.replica, first, seen.refused)


class _Seen:
    """What is known of an answer when its connection breaks. `first`: when its first token came, monotonic seconds."""

    any = False
    replica = ""
    refused = False
    first: float | None = None


def _refused(status: int, raw: bytes) -> tuple[Fate, str]:
    try:
        message = json.loads(raw)["error"]["message"]
    except (ValueError, LookupError, TypeError):
        message = raw[:80].decode(errors="replace")
    return "failed", f"HTTP {status}: {message}"[:160]


def _judge_whole(raw: bytes, request: Request) -> tuple[Fate, str]:
    try:
        choice = json.loads(raw)["choices"][0]
        text, reason = choice["message"]["content"], choice["finish_reason"]
    except (ValueError, LookupError, TypeError):
        return "truncated", "half a JSON body"
    return _judge(text, reason, request)


async def _read_stream(response: aiohttp.ClientResponse, request: Request, seen: _Seen) -> tuple[Fate, str]:
    text, reason, done = "", "", False
    async for line in response.content:
        data = line.removeprefix(b"data: ").strip()
        if data == b"[DONE]":
            done = True
        elif data:
            chunk = json.loads(data)
            if "error" in chunk:
                return "failed", f"error event: {chunk['error'].get('message')}"[:160]
            for choice in chunk["choices"]:
                text += choice["delta"].get("content") or ""
                seen.first = seen.first or (time.monotonic() if text else None)
                reason = choice["finish_reason"] or reason
    return _judge(text, reason, request) if done else ("truncated", "the stream ended without [DONE]")


def _judge(text: str, reason: str, request: Request) -> tuple[Fate, str]:
    expected = request.expected()
    if not reason or (expected.startswith(text) and text != expected):
        return "truncated", f"{len(text)} of {len(expected)} characters, finish_reason {reason!r}"
    return ("ok", "") if text == expected else ("failed", "the answer of another request")


async def cancel(tasks: set[asyncio.Task[Outcome]]) -> None:
    """End requests nobody waits for any more."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
