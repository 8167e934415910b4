"""A small, fast HTTP/1.1 server for the picker: Envoy asks it once per request, so every microsecond counts.

Only what Envoy, kubelets and Prometheus need: keep-alive, whole bodies, answers at once or later. A general framework
costs a multiple of this per request.
"""

import asyncio
import logging
import socket
from collections.abc import Callable
from http import HTTPStatus
from typing import cast

import httptools
import msgspec

from manta_runtime.router.sockets import BACKLOG

log = logging.getLogger(__name__)


class Question(msgspec.Struct, gc=False):
    """One request. Header names are lower case; of one sent twice, the last counts.

    `subset`: addresses (ip:port) that a gateway allows; None: any.
    """

    method: str
    path: str
    headers: dict[bytes, bytes]
    body: bytes
    subset: tuple[str, ...] | None = None


class Answer(msgspec.Struct, frozen=True, gc=False):
    """One response; `headers` beyond content-type and content-length."""

    status: int
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()
    content_type: str = "application/json"

    def encode(self) -> bytes:
        """The bytes on the wire."""
        head = _STARTS.get(self.status) or f"HTTP/1.1 {self.status} Refused\r\n"
        for name, value in self.headers:
            head += f"{name}: {value}\r\n"
        body = self.body
        if not body:
            return f"{head}content-length: 0\r\n\r\n".encode("latin-1")
        head += f"content-type: {self.content_type}\r\ncontent-length: {len(body)}\r\n\r\n"
        return head.encode("latin-1") + body


Handler = Callable[[Question], "Answer | asyncio.Future[Answer]"]

_STARTS = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n" for status in HTTPStatus}
_BROKEN = Answer(500, b"the picker failed; its log says why", content_type="text/plain")
_BAD = Answer(400, b"not HTTP/1.1", content_type="text/plain")
_TOO_LARGE = Answer(413, b"body too large", content_type="text/plain")


async def serve(handler: Handler, host: str, port: int, max_body: int) -> asyncio.Server:
    """Listen on host:port; bodies beyond `max_body` bytes are refused. OSError if the port is taken.

    A connection has one question at a time: while its answer is awaited, nothing more is read from it. When it closes,
    the awaited answer is cancelled.
    """
    loop = asyncio.get_running_loop()
    return await loop.create_server(lambda: _Connection(handler, max_body), host, port, backlog=BACKLOG)


async def serve_at(handler: Handler, listening: socket.socket, max_body: int) -> asyncio.Server:
    """The same on a Unix socket."""
    loop = asyncio.get_running_loop()
    return await loop.create_unix_server(lambda: _Connection(handler, max_body), sock=listening, backlog=BACKLOG)


class _Connection(asyncio.Protocol):
    """Drives httptools' parser, whose on_* callbacks collect one question at a time."""

    __slots__ = (
        "_chunks", "_handler", "_headers", "_keep_alive", "_late", "_max_body", "_parser", "_queued", "_size",
        "_transport", "_url",
    )  # fmt: skip

    def __init__(self, handler: Handler, max_body: int) -> None:
        self._handler = handler
        self._max_body = max_body
        self._headers: dict[bytes, bytes] = {}
        self._chunks: list[bytes] = []
        self._url = b""
        self._size = 0
        self._keep_alive = True
        self._late: asyncio.Future[Answer] | None = None
        self._queued: list[tuple[Question | Answer, bool]] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports do not inherit from asyncio's.
        self._transport = cast("asyncio.Transport", transport)
        self._parser = httptools.HttpRequestParser(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio names it
        self._queued.clear()
        if self._late is not None:
            self._late.cancel()

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            log.warning("closed a connection that does not speak HTTP/1.1: %s", error)
            self._send(_BAD)
            self._transport.close()

    def on_message_begin(self) -> None:
        self._headers, self._chunks, self._url, self._size = {}, [], b"", 0

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.lower()] = value

    def on_body(self, body: bytes) -> None:
        self._size += len(body)
        if self._size <= self._max_body:
            self._chunks.append(body)

    def on_message_complete(self) -> None:
        parser = self._parser
        keep_alive = parser.should_keep_alive()
        asked: Question | Answer = _TOO_LARGE
        if self._size <= self._max_body:
            chunks, self._chunks = self._chunks, []  # a held request's body is not kept
            body = chunks[0] if len(chunks) == 1 else b"".join(chunks)
            path = self._url.decode("latin-1")
            if "?" in path:
                path = path.partition("?")[0]
            asked = Question(parser.get_method().decode("latin-1"), path, self._headers, body)
        if self._late is None:
            self._take(asked, keep_alive)
        else:  # sent before the last one was answered: its turn comes
            self._queued.append((asked, keep_alive))

    def _take(self, asked: Question | Answer, keep_alive: bool) -> None:
        answer = asked if isinstance(asked, Answer) else self._answer(asked)
        if isinstance(answer, Answer):
            self._send(answer)
            if not keep_alive:
                self._transport.close()
            return
        self._late, self._keep_alive = answer, keep_alive
        answer.add_done_callback(self._answered)

    def _answered(self, late: "asyncio.Future[Answer]") -> None:
        if late.cancelled():  # the connection has gone
            self._late = None
            return
        error = late.exception()
        if error is not None:
            log.error("no late answer", exc_info=error)
        self._late = None
        self._send(_BROKEN if error is not None else late.result())
        if not self._keep_alive:
            self._transport.close()
        while self._queued and not self._waits() and not self._transport.is_closing():
            self._take(*self._queued.pop(0))

    def _waits(self) -> bool:
        return self._late is not None

    def _answer(self, question: Question) -> "Answer | asyncio.Future[Answer]":
        try:
            return self._handler(question)
        except Exception:
            log.exception("no answer for %s %s", question.method, question.path)
            return _BROKEN

    def _send(self, answer: Answer) -> None:
        if not self._transport.is_closing():
            self._transport.write(answer.encode())
