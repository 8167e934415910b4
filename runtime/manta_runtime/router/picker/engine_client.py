"""A tiny HTTP/1.1 client for what the picker asks engines: short GETs, once a second, of up to hundreds of them.

One kept connection per engine and no feature beyond it: a general client costs several times as much per request.
"""

import asyncio
from typing import cast

import httptools

_MAX_BODY = 16 << 20


class EngineError(Exception):
    """No answer; the message says why. `broken`: no connection, or it broke; else there was no answer in time."""

    def __init__(self, message: str, *, broken: bool) -> None:
        super().__init__(message)
        self.broken = broken


class EngineClient:
    """GETs from one engine at ip:port, one at a time."""

    def __init__(self, address: str, timeout: float = 2.0) -> None:
        host, _, port = address.rpartition(":")
        self._host, self._port = host.strip("[]"), int(port)
        self._timeout = timeout
        self._connection: _Connection | None = None

    async def get(self, path: str, most: int = _MAX_BODY) -> tuple[int, bytes]:
        """Status and body, of at most so many bytes. EngineError without a whole answer in time."""
        kept = self._connection is not None and self._connection.open
        try:
            async with asyncio.timeout(self._timeout):
                try:
                    return await self._get(path, most)
                except ConnectionError:
                    if not kept:
                        raise
                    return await self._get(path, most)  # the engine closed the idle connection as we asked
        except (OSError, TimeoutError, httptools.HttpParserError) as error:
            self.close()
            why = str(error) or "no answer in time"
            broken = not isinstance(error, TimeoutError)
            raise EngineError(f"GET {path} of {self._host}:{self._port}: {why}", broken=broken) from error

    async def _get(self, path: str, most: int) -> tuple[int, bytes]:
        connection = self._connection
        if connection is None or not connection.open:
            loop = asyncio.get_running_loop()
            _, connection = await loop.create_connection(_Connection, self._host, self._port)
            self._connection = connection
        head = f"GET {path} HTTP/1.1\r\nhost: {self._host}\r\naccept-encoding: identity\r\n\r\n"
        return await connection.ask(head.encode("ascii"), most)

    def close(self) -> None:
        """Drop the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class _Connection(asyncio.Protocol):
    def __init__(self) -> None:
        self.open = False
        self._answer: asyncio.Future[tuple[int, bytes]] | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._chunks: list[bytes] = []
        self._size, self._most = 0, 0

    def ask(self, request: bytes, most: int) -> "asyncio.Future[tuple[int, bytes]]":
        self._most = most
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return self._answer

    def close(self) -> None:
        self.open = False
        self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self.open = True

    def connection_lost(self, exc: Exception | None) -> None:
        self.open = False
        self._fail(ConnectionResetError(str(exc or "the engine closed the connection")))

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(error)
            self.close()

    def on_message_begin(self) -> None:
        self._chunks, self._size = [], 0

    def on_body(self, body: bytes) -> None:
        self._size += len(body)
        if self._size > self._most:
            self._fail(ConnectionAbortedError(f"more than {self._most} bytes"))
            self.close()
            return
        self._chunks.append(body)

    def on_message_complete(self) -> None:
        if not self._parser.should_keep_alive():
            self.close()
        if self._answer is not None and not self._answer.done():
            self._answer.set_result((self._parser.get_status_code(), b"".join(self._chunks)))

    def _fail(self, error: Exception) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error)
