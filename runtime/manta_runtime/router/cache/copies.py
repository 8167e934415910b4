"""The copy of one answer on its way to the client, kept if it turns out to be complete. Bounded by `store.py`."""

from typing import Any

import msgspec

from manta_runtime.router.cache.sse import Completeness, Events, is_only_usage
from manta_runtime.router.cache.store import CHUNK_BYTES, COPY_BYTES, Store

_JSON = "application/json"
_EVENTS = "text/event-stream"
_EVENT_AT_MOST = 4 << 20  # bytes; one is put together anew with each of its pieces
_DONE = (None, "abort", "error")


class _Choice(msgspec.Struct):
    finish_reason: str | None = None


class _Cut(msgspec.Struct):
    reason: str | None = None


class _Whole(msgspec.Struct):
    """What tells of an answer's end; the rest is skipped."""

    error: Any = None
    choices: list[_Choice] | None = None
    status: str | None = None
    incomplete_details: _Cut | None = None
    stop_reason: str | None = None


_decode = msgspec.json.Decoder(_Whole).decode


class Copy:
    """Copies an answer to a request on `path`; gives up (and frees what it has) once the store has no room for it."""

    def __init__(self, store: Store, path: str, content_type: str, *, hide_usage: bool) -> None:
        self.content_type = content_type
        self._store = store
        self._path = path
        self._hide = hide_usage
        kind = content_type.partition(";")[0].strip().lower()
        self._events: Events | None = Events() if kind == _EVENTS else None
        self._state = Completeness(path)
        self._pieces: list[bytes] | None = None
        self._size = 0
        self._reserved = 0
        self._rest = 0
        if kind in {_EVENTS, _JSON} and store.reserve(COPY_BYTES):
            self._pieces, self._reserved = [], COPY_BYTES

    def add(self, piece: bytes) -> None:
        """The next piece of the answer."""
        if self._pieces is None:
            return
        if self._events is None:
            self._take(piece)
            return
        events = self._events.feed(piece)
        if events:
            self._hold_rest(0)  # it is the first of them
        for event in events:
            self._state.see(event)
            if not (self._hide and is_only_usage(event)):
                self._take(event)
        if self._events is not None:
            self._hold_rest(self._events.rest)

    def result(self) -> bytes | None:
        """The answer, now that it has ended as HTTP wants it, if it is complete; None if it is not or was too large."""
        if self._pieces is None:
            return None
        body = b"".join(self._pieces)
        if self._events is not None:
            return body if self._state.complete and not self._events.rest else None
        return body if is_whole(self._path, body) else None

    def close(self) -> None:
        """Free the copy."""
        self._store.give_back(self._reserved)
        self._pieces, self._events, self._reserved, self._rest = None, None, 0, 0

    def _hold_rest(self, size: int) -> None:
        """Account for the event that is not complete yet."""
        if self._pieces is None:
            return
        more, self._rest = size - self._rest, size
        if more <= 0:
            self._store.give_back(-more)
        elif size > _EVENT_AT_MOST or self._size + size > self._store.entry_limit or not self._store.reserve(more):
            self._rest -= more
            self.close()
            return
        self._reserved += more

    def _take(self, piece: bytes) -> None:
        if self._pieces is None:
            return
        self._size += len(piece)
        # Twice, as at the end the pieces are there once more, joined.
        need = 2 * len(piece) + CHUNK_BYTES
        if self._size > self._store.entry_limit or not self._store.reserve(need):
            self.close()
            return
        self._reserved += need
        self._pieces.append(piece)


def is_whole(path: str, body: bytes) -> bool:
    """Whether a JSON answer is a complete one: not an error under 200, not aborted, not still to come."""
    try:
        found = _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    if found.error is not None:
        return False
    if path == "/v1/responses":
        cut = found.incomplete_details
        return found.status == "completed" or (cut is not None and cut.reason == "max_output_tokens")
    if path == "/v1/messages":
        return found.stop_reason is not None
    return bool(found.choices) and all(choice.finish_reason not in _DONE for choice in found.choices or ())
