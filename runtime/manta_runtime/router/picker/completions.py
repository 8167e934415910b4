"""Hears from Envoy which requests have ended: the receiving end of its fluentd access logger (`listener.py`).

Forward protocol: a stream of msgpack arrays [tag, [[time, record], …], options]. Each Envoy worker
holds one connection. A record is {"id": …, "end": …}, the latter all the rest of End, in `access_log.END`'s order.
"""

import asyncio
import logging
import socket
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgpack  # type: ignore[import-untyped]
import msgspec

from manta_runtime.router.sockets import BACKLOG

log = logging.getLogger(__name__)

_MAX_MESSAGE = 8 << 20
# Envoy's response flags for: could not connect, connection broke. (It may also give up, URX, on engines that say 503.)
_FAILED = frozenset(("UF", "UC"))


class End(msgspec.Struct, frozen=True, gc=False):
    """How a request ended. `flags`: Envoy's response flags, comma-separated; `upstream`: ip:port that answered last.

    `first_byte_ms`: until the answer's headers, `first_data_ms`: until the first of its body; `events`: of a stream.
    None or "" is what Envoy does not know.
    """

    id: str
    flags: str = ""
    status: int | None = None
    upstream: str = ""
    attempts: int | None = None
    first_byte_ms: int | None = None
    first_data_ms: int | None = None
    duration_ms: int | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cached_tokens: int | None = None
    bytes: int | None = None
    events: int | None = None


def end_of(record: dict[str, Any]) -> End:
    """The end that a record tells of. KeyError, ValueError, AttributeError or TypeError if it is no record of ours."""
    flags, status, upstream, *numbers = record["end"].split(" ")
    return End(
        record["id"], flags, _number(status), upstream if upstream != "-" else "", *[_number(text) for text in numbers]
    )


def _number(value: str) -> int | None:
    """Envoy writes "-" for what it lacks, and metadata as floating-point numbers."""
    if value == "-":
        return None
    try:
        return int(float(value))
    except (ValueError, OverflowError):  # "null", NaN, infinity
        return None


def failed_of(tried: Sequence[str], end: End, known: Iterable[str]) -> tuple[Sequence[str], Sequence[str]]:
    """Which address failed: the last, if Envoy lost the connection to it; and which may have: those tried before it.

    Of those Envoy does not tell whether a connection failed, or they answered that they are full.
    An upstream that is not among the `known` ones is not a replica (the cache's proxy): it tells nothing.
    """
    attempts = end.attempts or 1
    if end.upstream and end.upstream not in known:
        return (), ()
    before = tried[: tried.index(end.upstream)] if end.upstream in tried else tried[: attempts - 1]
    doubtful = before if attempts > 1 else ()
    if _FAILED.isdisjoint(end.flags.split(",")):
        return (), doubtful
    return (end.upstream,) if end.upstream else tried[len(doubtful) : len(doubtful) + 1], doubtful


class Completions:
    """Calls `ended(end)` for each end. Calls `lost()` when the last connection is closed by Envoy: it has gone."""

    def __init__(self, ended: Callable[[End], None], lost: Callable[[], None]) -> None:
        self._ended = ended
        self._lost = lost
        self._connections = 0

    async def serve(self, listening: socket.socket) -> asyncio.Server:
        """Hear what comes by the Unix socket."""
        loop = asyncio.get_running_loop()
        return await loop.create_unix_server(lambda: _Stream(self), sock=listening, backlog=BACKLOG)

    def opened(self) -> None:
        """A worker connected."""
        self._connections += 1

    def closed(self, *, by_us: bool) -> None:
        """A worker's connection closed."""
        self._connections -= 1
        if self._connections == 0 and not by_us:
            self._lost()

    def message(self, message: Any) -> None:
        """One batch of ended requests. What cannot be read costs nobody else their end: it is logged and left out."""
        try:
            records = [record for _, record in message[1]]
        except (LookupError, TypeError, ValueError) as error:
            log.warning("not a fluentd forward message of ours: %s", error)
            return
        for record in records:
            try:
                self._ended(end_of(record))
            except Exception:
                log.exception("an end that cannot be read or settled: %.500r", record)


class _Stream(asyncio.Protocol):
    def __init__(self, completions: Completions) -> None:
        self._completions = completions
        # Text that is no UTF-8 must not put the parser out of step.
        self._unpacker = msgpack.Unpacker(max_buffer_size=_MAX_MESSAGE, unicode_errors="replace")
        self._broken = False
        self._transport: asyncio.BaseTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._completions.opened()

    def data_received(self, data: bytes) -> None:
        try:
            self._unpacker.feed(data)
            for message in self._unpacker:
                self._completions.message(message)
        except (ValueError, msgpack.UnpackException) as error:
            log.warning("closed an access-log connection: %s", error)
            self._broken = True  # Envoy is there, and connects again
            if self._transport is not None:
                self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio names it
        self._completions.closed(by_us=self._broken)
