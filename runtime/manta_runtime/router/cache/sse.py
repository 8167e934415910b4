"""What a streamed answer says of itself: whether it is complete, and what of it a client did not ask for. Pure.

Events are bytes up to a blank line, as engines write them; JSON in them has no raw line breaks and no raw quotes
inside strings, so what is looked for below cannot be a model's words.
"""

import re

_END = b"\n\n"
_LAST = {
    "/v1/chat/completions": b"data: [DONE]",
    "/v1/completions": b"data: [DONE]",
    "/v1/responses": b"event: response.completed\n",
    "/v1/messages": b"event: message_stop\n",
}
_BROKEN = re.compile(
    rb'^data: ?\{"error":'  # an engine that fails in mid-stream says so, and then ends the stream as always
    rb'|"finish_reason": ?"(?:abort|error)"'
    rb"|^event: (?:error|response\.(?:failed|incomplete|cancelled))\n"
    rb'|^event: response\.completed\n.*"status": ?"(?:cancelled|failed|in_progress)"'
    rb'|^event: message_delta\n.*"stop_reason": ?null'
)
_USAGE = re.compile(rb',"usage":\{[^{}]*(?:\{[^{}]*\}[^{}]*)*\}')
_NO_CHOICES = re.compile(rb'"choices":\s*\[\s*\]')
_HAS_USAGE = re.compile(rb'"usage":\s*\{')


def is_only_usage(event: bytes) -> bool:
    """Whether the event was sent for its usage alone: what Envoy (`usage.lua`) drops for a client that did not ask."""
    return b'"usage":' in event and bool(_NO_CHOICES.search(event) and _HAS_USAGE.search(event))


def hide_usage(event: bytes) -> bytes:
    """The event without any usage, as engines with `--enable-force-include-usage` put it into each; maybe nothing."""
    if b'"usage":{' not in event:
        return event
    return b"" if is_only_usage(event) else _USAGE.sub(b"", event)


class Events:
    """Cuts a stream into events, wherever its pieces were cut."""

    def __init__(self) -> None:
        self._rest = b""

    @property
    def rest(self) -> int:
        """Bytes of the event that is not complete yet."""
        return len(self._rest)

    def feed(self, piece: bytes) -> list[bytes]:
        """The events that `piece` completes, their blank lines included."""
        *events, self._rest = (self._rest + piece).split(_END)
        return [event + _END for event in events]


class Completeness:
    """Whether an answer on `path` is a whole one, so far: its last event ends it, and none is a failure."""

    def __init__(self, path: str) -> None:
        self._last = _LAST.get(path)
        self._broken = False
        self._ended = False

    def see(self, event: bytes) -> None:
        """The next event."""
        self._broken = self._broken or self._ended or _BROKEN.search(event) is not None
        self._ended = self._last is not None and event.startswith(self._last)

    @property
    def complete(self) -> bool:
        """Whether nothing is missing."""
        return self._ended and not self._broken
