"""Reads token counts out of an engine's answer as it passes: a JSON document or server-sent events. Pure.

Only what may hold the counts is kept: a JSON answer up to a limit, of a stream the last event that speaks of usage.
"""

from dataclasses import dataclass

import msgspec

# Longer answers (embeddings of large batches) are not kept: their tokens stay unknown.
_KEEP_BYTES = 8 << 20
_MARK = b'"usage"'


@dataclass(frozen=True, slots=True)
class Tokens:
    """What an engine says it computed; None where it does not say."""

    prompt: int | None = None
    completion: int | None = None
    cached: int | None = None


class _Details(msgspec.Struct):
    cached_tokens: int | None = None


class _Usage(msgspec.Struct):
    """Chat, completions and embeddings say prompt/completion; responses and messages say input/output.

    The input of messages leaves out what was in the cache, or has been put there.
    """

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    prompt_tokens_details: _Details | None = None
    input_tokens_details: _Details | None = None

    def tokens(self) -> Tokens:
        completion = self.completion_tokens if self.completion_tokens is not None else self.output_tokens
        if self.prompt_tokens is None and self.input_tokens is not None:
            cached = self.cache_read_input_tokens
            prompt: int | None = self.input_tokens + (cached or 0) + (self.cache_creation_input_tokens or 0)
        else:
            prompt, cached = self.prompt_tokens, None
        details = self.prompt_tokens_details or self.input_tokens_details
        return Tokens(prompt, completion, details.cached_tokens if details else cached)


class _Inner(msgspec.Struct):
    usage: _Usage | None = None


class _Answer(msgspec.Struct):
    usage: _Usage | None = None
    response: _Inner | None = None
    """`response.completed` of /v1/responses."""


_decoder = msgspec.json.Decoder(_Answer)


class UsageReader:
    """Feed it the body as it comes; ask `tokens()` at the end (also at an early end)."""

    def __init__(self, events: bool) -> None:
        self.seen = 0
        """Complete events, [DONE] included."""
        self._events = events
        self._rest = bytearray()
        self._last = b""

    def feed(self, chunk: bytes) -> None:
        """The next bytes of the body."""
        if len(self._rest) + len(chunk) > _KEEP_BYTES:
            self._rest = bytearray()
            return
        self._rest += chunk
        if not self._events:
            return
        if b"\r" in self._rest:
            self._rest = self._rest.replace(b"\r\n", b"\n")
        events, end, rest = self._rest.rpartition(b"\n\n")
        if end:
            self._rest = rest
            self.seen += events.count(b"\n\n") + 1
            if _MARK in events:
                self._last = bytes(events)

    def tokens(self) -> Tokens:
        """The counts the engine gave last; all None if it gave none."""
        if not self._events:
            return _tokens(self._rest) or Tokens()
        for line in reversed((self._last + b"\n" + bytes(self._rest)).splitlines()):
            if line.startswith(b"data:") and _MARK in line and (tokens := _tokens(line[5:])) is not None:
                return tokens
        return Tokens()


def _tokens(document: bytes | bytearray) -> Tokens | None:
    try:
        answer = _decoder.decode(document)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    usage = answer.usage or (answer.response.usage if answer.response else None)
    return usage.tokens() if usage else None
