"""Two TCP connections joined: bytes, half-closes, back-pressure and resets pass from each to the other.

Used by proxy.py. Plain asyncio protocols, no copy beyond the kernel's and no task per direction.
"""

import asyncio
import contextlib
import socket
import struct
from typing import cast

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


def reset(transport: asyncio.Transport) -> None:
    """Close at once and let the other end see a reset, not an orderly end."""
    held = transport.get_extra_info("socket")
    if held is not None:
        with contextlib.suppress(OSError):  # gone already
            held.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    transport.abort()


class Side(asyncio.Protocol):
    """One end of a relayed connection; join() makes two of them a pair."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.peer: Side | None = None
        self.ended = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Hold all reading until the pair is joined: nothing may arrive with nowhere to go."""
        self.transport = cast("asyncio.Transport", transport)
        self.transport.pause_reading()

    def data_received(self, data: bytes) -> None:
        """Pass on."""
        if self.peer is not None and self.peer.transport is not None:
            self.peer.transport.write(data)

    def pause_writing(self) -> None:
        """We cannot take more: the other side stops reading."""
        if self.peer is not None and self.peer.transport is not None:
            self.peer.transport.pause_reading()

    def resume_writing(self) -> None:
        """We can take more again."""
        if self.peer is not None and self.peer.transport is not None:
            self.peer.transport.resume_reading()

    def eof_received(self) -> bool:
        """Half-close: end the peer's incoming side, keep the way back open until that ends too."""
        self.ended = True
        peer = self.peer
        if peer is None or peer.transport is None or self.transport is None:
            return False
        if peer.ended:
            peer.transport.close()
            self.transport.close()
        elif not peer.transport.is_closing():
            peer.transport.write_eof()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """An orderly end closes the peer, flushed; a reset stays one: half an answer must not look whole."""
        self.transport = None
        peer, self.peer = self.peer, None
        if peer is None or peer.transport is None:
            return
        if exc is None:
            peer.transport.close()
        else:
            reset(peer.transport)


def join(client: Side, backend: Side) -> None:
    """Make the two a pair and let the bytes flow. If one is gone already, the other is reset."""
    if client.transport is None or backend.transport is None:
        for side in (client, backend):
            if side.transport is not None:
                reset(side.transport)
        return
    client.peer, backend.peer = backend, client
    client.transport.resume_reading()
    backend.transport.resume_reading()


def cut(client: Side) -> None:
    """End a connection at once, joined or not: both ends see a reset."""
    backend, client.peer = client.peer, None
    for side in (client, backend):
        if side is not None and side.transport is not None:
            side.peer = None
            reset(side.transport)
