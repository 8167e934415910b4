"""The load generator: keep-alive connections over a bare HTTP/1.1 parser, cheaper than what is measured."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self, cast

import httptools

_GIVE_UP_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Target:
    """Where requests go, and the key they carry."""

    host: str
    port: int
    key: str = ""


@dataclass(slots=True)
class Samples:
    """What was seen: seconds of each answer that was 200, and how many were not or never came."""

    seconds: list[float] = field(default_factory=list)
    failed: int = 0
    chunks: int = 0
    elapsed: float = 0.0

    def percentile(self, share: float) -> float:
        """Seconds within which `share` (0…1) of the answers came. ValueError if none did."""
        if not self.seconds:
            raise ValueError("no request was answered")
        ordered = sorted(self.seconds)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def encode(target: Target, body: bytes) -> bytes:
    """One chat request on the wire."""
    key = f"authorization: Bearer {target.key}\r\n" if target.key else ""
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: {target.host}\r\ncontent-type: application/json\r\n"
        f"{key}content-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


class _Connection(asyncio.Protocol):
    """One keep-alive connection with one request at a time."""

    _done: asyncio.Future[int] | None = None
    chunks = 0

    @classmethod
    async def open(cls, target: Target) -> Self:
        """Connect; OSError if that fails."""
        _, protocol = await asyncio.get_running_loop().create_connection(cls, target.host, target.port)
        return protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self._parser = httptools.HttpResponseParser(self)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._done is not None and not self._done.done():
            self._done.set_exception(exc or ConnectionError("closed before the answer was whole"))

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            if self._done is not None and not self._done.done():
                self._done.set_exception(error)

    def on_message_begin(self) -> None:
        self.chunks = 0

    def on_body(self, body: bytes) -> None:
        self.chunks += body.count(b"data: {")

    def on_message_complete(self) -> None:
        if self._done is not None and not self._done.done():
            self._done.set_result(self._parser.get_status_code())

    async def ask(self, request: bytes) -> int:
        """Send one request and wait for the whole answer; returns its status. ConnectionError, TimeoutError."""
        self._done = asyncio.get_running_loop().create_future()
        self.transport.write(request)
        async with asyncio.timeout(_GIVE_UP_SECONDS):
            return await self._done

    def close(self) -> None:
        """Close the connection."""
        self.transport.close()


async def closed_loop(target: Target, bodies: Sequence[bytes], connections: int, seconds: float) -> Samples:
    """Each of `connections` asks again as soon as it is answered, for `seconds`."""
    requests = [encode(target, body) for body in bodies]
    samples = Samples()
    started = time.perf_counter()
    deadline = started + seconds

    async def one(first: int) -> None:
        connection, turn = await _Connection.open(target), first
        while time.perf_counter() < deadline:
            connection = await _timed(target, connection, requests[turn % len(requests)], None, samples)
            turn += connections
        connection.close()

    await asyncio.gather(*(one(number) for number in range(connections)))
    samples.elapsed = time.perf_counter() - started
    return samples


async def open_loop(target: Target, bodies: Sequence[bytes], rate: float, seconds: float) -> Samples:
    """`rate` requests a second for `seconds`, each timed from when it was due: a late answer delays no later one."""
    requests = [encode(target, body) for body in bodies]
    samples, idle = Samples(), [await _Connection.open(target) for _ in range(16)]
    running: set[asyncio.Task[None]] = set()

    async def one(request: bytes, due: float) -> None:
        connection = idle.pop() if idle else await _Connection.open(target)
        idle.append(await _timed(target, connection, request, due, samples))

    started = time.perf_counter()
    for number in range(round(rate * seconds)):
        due = started + number / rate
        if (pause := due - time.perf_counter()) > 0:
            await asyncio.sleep(pause)
        task = asyncio.create_task(one(requests[number % len(requests)], due))
        running.add(task)
        task.add_done_callback(running.discard)
    await asyncio.gather(*running)
    samples.elapsed = time.perf_counter() - started
    for connection in idle:
        connection.close()
    return samples


async def _timed(
    target: Target, connection: _Connection, request: bytes, due: float | None, samples: Samples
) -> _Connection:
    """Ask once and note the outcome; returns the connection to go on with."""
    began = time.perf_counter() if due is None else due
    try:
        status = await connection.ask(request)
    except (OSError, TimeoutError, httptools.HttpParserError):
        samples.failed += 1
        connection.close()
        return await _Connection.open(target)
    if status == 200:
        samples.seconds.append(time.perf_counter() - began)
        samples.chunks += connection.chunks
    else:
        samples.failed += 1
    return connection
