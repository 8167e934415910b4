"""A small, fast HTTP/1.1 server for the picker: Envoy asks it once per request, so every microsecond counts.

Only what Envoy, kubelets and Prometheus need: keep-alive, whole bodies, answers made without waiting. A general
framework costs a multiple of this per request.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import cast

import httptools

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Question:
    """One request. Header names are lower case."""

    method: str
    path: str
    headers: dict[bytes, bytes]
    body: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """One response; `headers` beyond content-type and content-length."""

    status: int
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()
    content_type: str = "application/json"

    def encode(self) -> bytes:
        """The bytes on the wire."""
        extra = "".join(f"{name}: {value}\r\n" for name, value in self.headers)
        head = (
            f"HTTP/1.1 {self.status} {_reason(self.status)}\r\ncontent-type: {self.content_type}\r\n"
            f"content-length: {len(self.body)}\r\n{extra}\r\n"
        )
        return head.encode("latin-1") + self.body


Handler = Callable[[Question], Answer]

_BROKEN = Answer(500, b"the picker failed; its log says why", content_type="text/plain")
_BAD = Answer(400, b"not HTTP/1.1", content_type="text/plain")
_TOO_LARGE = Answer(413, b"body too large", content_type="text/plain")


async def serve(handler: Handler, host: str, port: int, max_body: int) -> asyncio.Server:
    """Listen on host:port; bodies beyond `max_body` bytes are refused. OSError if the port is taken."""
    loop = asyncio.get_running_loop()
    return await loop.create_server(lambda: _Connection(handler, max_body), host, port, backlog=1024)


@dataclass
class _Connection(asyncio.Protocol):
    """Drives httptools' parser, whose on_* callbacks collect one question at a time."""

    handler: Handler
    max_body: int
    _headers: dict[bytes, bytes] = field(default_factory=dict)
    _chunks: list[bytes] = field(default_factory=list)
    _url: bytes = b""
    _size: int = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports do not inherit from asyncio's.
        self._transport = cast("asyncio.WriteTransport", transport)
        self._parser = httptools.HttpRequestParser(self)

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
        if self._size <= self.max_body:
            self._chunks.append(body)

    def on_message_complete(self) -> None:
        keep_alive = self._parser.should_keep_alive()
        self._send(_TOO_LARGE if self._size > self.max_body else self._answer())
        if not keep_alive:
            self._transport.close()

    def _answer(self) -> Answer:
        method = self._parser.get_method().decode("latin-1")
        path = self._url.decode("latin-1").partition("?")[0]
        try:
            return self.handler(Question(method, path, self._headers, b"".join(self._chunks)))
        except Exception:
            log.exception("no answer for %s %s", method, path)
            return _BROKEN

    def _send(self, answer: Answer) -> None:
        if not self._transport.is_closing():
            self._transport.write(answer.encode())


def _reason(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Refused"
