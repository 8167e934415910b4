"""Cuts what a child process prints into lines, as it comes: the launcher hears them before the log has them. Effects.

The pipe is read as fast as the event loop turns and never waits for whoever reads the log, so that no child does.
"""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

LONGEST = 256 * 1024
"""Bytes without a newline after which a line is cut: nobody's log may fill our memory."""


class Relay(asyncio.Protocol):
    r"""The reading end of a child's output; `hear` gets every line as text, without its newline.

    Of what overwrites itself with carriage returns (progress bars) the last state counts, as on a terminal. Bytes that
    are no UTF-8 come as `\xNN`. What comes without a newline at the end is a line, too.
    """

    def __init__(self, hear: Callable[[str], None]) -> None:
        self._hear = hear
        self._rest = b""
        self._ended = asyncio.get_running_loop().create_future()
        self._transport: asyncio.BaseTransport | None = None

    @classmethod
    async def open(cls, hear: Callable[[str], None]) -> tuple[Relay, int]:
        """Return a relay and the descriptor that the child writes to; close it here when the child has started."""
        reading, writing = os.pipe()
        loop = asyncio.get_running_loop()
        _, relay = await loop.connect_read_pipe(lambda: cls(hear), os.fdopen(reading, "rb", buffering=0))
        return relay, writing

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport, to close it."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Hear the lines that are complete."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._tell(line)
        if len(self._rest) > LONGEST:
            self._tell(self._rest)
            self._rest = b""

    def connection_lost(self, exc: Exception | None) -> None:
        """Hear what is left: the end of the output."""
        del exc
        if self._rest:
            self._tell(self._rest)
            self._rest = b""
        if not self._ended.done():
            self._ended.set_result(None)

    async def finish(self, seconds: float) -> None:
        """Wait for the end of the output for `seconds`, then hear no more: a grandchild may hold on to the pipe."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await asyncio.shield(self._ended)
        if self._transport:
            self._transport.close()
        await self._ended

    def _tell(self, line: bytes) -> None:
        last = line.rstrip(b"\r").rpartition(b"\r")[2]
        self._hear(last.decode(errors="backslashreplace"))
