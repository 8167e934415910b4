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


class _Asker(_Connection):
    """A connection that asks again as soon as it is answered: callbacks alone, no task or timer for each request."""

    def __init__(self, requests: Sequence[bytes], step: int, first: int, deadline: float, samples: Samples) -> None:
        self._requests, self._step, self._turn = requests, step, first
        self._deadline, self._samples = deadline, samples
        self.ended = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._next()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio names it
        if not self.ended.done():
            self._samples.failed += 1
            self.ended.set_result(None)

    def _next(self) -> None:
        self._began = time.perf_counter()
        self.transport.write(self._requests[self._turn % len(self._requests)])
        self._turn += self._step

    def on_message_complete(self) -> None:
        now = time.perf_counter()
        if self._parser.get_status_code() == 200:
            self._samples.seconds.append(now - self._began)
            self._samples.chunks += self.chunks
        else:
            self._samples.failed += 1
        if now < self._deadline:
            self._next()
        else:
            self.ended.set_result(None)


async def closed_loop(target: Target, bodies: Sequence[bytes], connections: int, seconds: float) -> Samples:
    """Each of `connections` asks again as soon as it is answered, for `seconds`. A lost one counts as one failure."""
    requests = [encode(target, body) for body in bodies]
    samples, loop = Samples(), asyncio.get_running_loop()
    started = time.perf_counter()
    askers = []
    for number in range(connections):
        asker = _Asker(requests, connections, number, started + seconds, samples)
        await loop.create_connection(lambda one=asker: one, target.host, target.port)
        askers.append(asker)
    async with asyncio.timeout(seconds + _GIVE_UP_SECONDS):
        await asyncio.gather(*(asker.ended for asker in askers))
    samples.elapsed = time.perf_counter() - started
    for asker in askers:
        asker.close()
    return samples


async def open_loop(
    target: Target, bodies: Sequence[bytes], rate: float, seconds: float, most_open: int = 10_000
) -> Samples:
    """`rate` requests a second for `seconds`, each timed from when it was due: a late answer delays no later one.

    Only where `most_open` connections are busy a request waits for one of them, and that time counts.
    """
    requests = [encode(target, body) for body in bodies]
    samples, idle = Samples(), [await _Connection.open(target) for _ in range(16)]
    running: set[asyncio.Task[None]] = set()
    places = asyncio.Semaphore(most_open)

    async def one(request: bytes, due: float) -> None:
        async with places:
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


async def _timed(target: Target, connection: _Connection, request: bytes, due: float, samples: Samples) -> _Connection:
    """Ask once and note the outcome, timed from when it was due; returns the connection to go on with."""
    try:
        status = await connection.ask(request)
    except (OSError, TimeoutError, httptools.HttpParserError):
        samples.failed += 1
        connection.close()
        return await _Connection.open(target)
    if status == 200:
        samples.seconds.append(time.perf_counter() - due)
        samples.chunks += connection.chunks
    else:
        samples.failed += 1
    return connection
