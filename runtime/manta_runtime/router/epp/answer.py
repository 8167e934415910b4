"""One engine's answer as it passes through the endpoint picker: what is counted of it, and what the client gets. Pure.

A client that did not ask for usage must not see the usage event that we asked the engine for (`amended`).
"""

import re

from manta_runtime.router.epp.usage import Tokens, UsageReader

_END = re.compile(rb"\r?\n\r?\n")
_LAST, _USAGE = re.compile(rb'"choices":\s*\[\s*\]'), re.compile(rb'"usage":\s*\{')
_ASK = b',"stream_options":{"include_usage":true}'
_OK, _UNAVAILABLE = 200, 503
# How Envoy begins the answer it gives itself when no connection could be made.
_NO_CONNECTION = b"upstream connect error"


def amended(body: bytes) -> bytes:
    """A JSON request that asks for usage, too, so that its tokens can be counted. The last key of a name wins."""
    head, brace, tail = body.rpartition(b"}")
    return head + _ASK + brace + tail if brace else body


def hidden(event: bytes | bytearray) -> bool:
    """Whether the event is there for its usage alone."""
    return _LAST.search(event) is not None and _USAGE.search(event) is not None


class PassingAnswer:
    """Feed it headers, then the body as it comes. `now`s are seconds of one clock."""

    def __init__(self, hide_usage: bool = False) -> None:
        self.status = 0
        self.bytes = 0
        self.streams = False
        self.never_connected = False
        self.first_byte_at: float | None = None
        self.first_data_at: float | None = None
        self._hide = hide_usage
        self._held = b""
        self._reader: UsageReader | None = None

    def start(self, headers: dict[bytes, bytes], now: float) -> None:
        """The headers have come."""
        self.status = int(headers.get(b":status", b"0") or 0)
        self.first_byte_at = now
        self.streams = headers.get(b"content-type", b"").startswith(b"text/event-stream")
        self._hide = self._hide and self.streams
        self._reader = UsageReader(self.streams) if self.status == _OK else None

    def feed(self, chunk: bytes, end: bool, now: float) -> bytes:
        """A piece of the body; returns what the client gets now."""
        if chunk:
            if self.first_data_at is None:
                self.first_data_at = now
                self.never_connected = self.status == _UNAVAILABLE and chunk.startswith(_NO_CONNECTION)
            self.bytes += len(chunk)
            if self._reader is not None:
                self._reader.feed(chunk)
        return self._without_usage(chunk, end) if self._hide else chunk

    @property
    def events(self) -> int:
        """Events of a stream that came whole."""
        return self._reader.seen if self._reader is not None else 0

    def tokens(self) -> Tokens:
        """What the engine says it computed, as far as it came."""
        return self._reader.tokens() if self._reader is not None else Tokens()

    def _without_usage(self, chunk: bytes, end: bool) -> bytes:
        body, begin, kept = self._held + chunk, 0, []
        for blank in _END.finditer(body):
            if not hidden(event := body[begin : blank.end()]):
                kept.append(event)
            begin = blank.end()
        rest, self._held = body[begin:], b""
        if end and not hidden(rest):
            kept.append(rest)
        elif not end:
            self._held = rest
        return b"".join(kept)
