"""Hears from Envoy which requests have ended: the receiving end of its fluentd access logger (`listener.py`).

Forward protocol: a TCP stream of msgpack arrays [tag, [[time, record], …], options]. Each Envoy worker
holds one connection.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import msgpack  # type: ignore[import-untyped]

log = logging.getLogger(__name__)

Ended = Callable[[str, str], None]
_MAX_MESSAGE = 8 << 20


class Completions:
    """Calls `ended(request_id, response_flags)` for each end.

    Calls `lost()` when the last connection closes: Envoy has gone.
    """

    def __init__(self, ended: Ended, lost: Callable[[], None]) -> None:
        self._ended = ended
        self._lost = lost
        self._connections = 0

    async def serve(self, host: str, port: int) -> asyncio.Server:
        """Listen on host:port. OSError if the port is taken."""
        return await asyncio.get_running_loop().create_server(lambda: _Stream(self), host, port)

    def opened(self) -> None:
        """A worker connected."""
        self._connections += 1

    def closed(self) -> None:
        """A worker's connection closed."""
        self._connections -= 1
        if self._connections == 0:
            self._lost()

    def message(self, message: Any) -> None:
        """One batch of ended requests. ValueError if it is not one."""
        try:
            for _, record in message[1]:
                self._ended(record["id"], record["flags"])
        except (LookupError, TypeError) as error:
            raise ValueError(f"not a fluentd forward message of ours: {error}") from error


class _Stream(asyncio.Protocol):
    def __init__(self, completions: Completions) -> None:
        self._completions = completions
        self._unpacker = msgpack.Unpacker(max_buffer_size=_MAX_MESSAGE)
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
            if self._transport is not None:
                self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio names it
        self._completions.closed()
