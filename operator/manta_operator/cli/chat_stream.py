"""The OpenAI chat protocol as the router speaks it: a request body in, the tokens of a streamed answer out.

Server-sent events end with `[DONE]`; an answer that just stops was cut off, and that is said, not passed over.
"""

import json
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any

Message = dict[str, str]
CUT_OFF = "the answer was cut off: the connection ended before the engine had finished"
_DATA = b"data:"


class BadAnswer(Exception):
    """The answer is an error, was cut off, or is no answer; the message says which."""


def request(model: str, messages: Sequence[Message], limits: Iterable[tuple[str, Any]] = ()) -> dict[str, Any]:
    """Return the body of a streamed chat completion; limits that are None are left to the engine."""
    chosen = {name: value for name, value in limits if value is not None}
    return {"model": model, "messages": list(messages), "stream": True} | chosen


async def tokens(chunks: AsyncIterator[bytes]) -> AsyncIterator[str]:
    """Yield the pieces of text of an event stream, whatever the chunks are cut into.

    Raises:
        BadAnswer: the engine reports an error, or the stream ends without saying so.
    """
    rest = b""
    async for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            if not line.startswith(_DATA):
                continue
            data = line[len(_DATA) :].strip()
            if data == b"[DONE]":
                return
            text = _text(data)
            if text:
                yield text
    raise BadAnswer(CUT_OFF)


def _text(data: bytes) -> str:
    try:
        event = json.loads(data)
    except ValueError as error:
        raise BadAnswer(f"the answer is no JSON: {data[:200].decode(errors='replace')}") from error
    if not isinstance(event, dict) or event.get("error"):
        raise BadAnswer(f"the engine reports: {complaint(data)}")
    pieces = [choice.get("delta", {}).get("content") or "" for choice in event.get("choices") or ()]
    return "".join(pieces)


def complaint(body: bytes) -> str:
    """Return the message of an error body in OpenAI's, Kubernetes' or no format."""
    try:
        found = json.loads(body)
        inner = found.get("error", found)
        return str(inner.get("message") if isinstance(inner, dict) else inner)
    except (ValueError, AttributeError):
        return body.decode(errors="replace").strip()[:300] or "no reason given"
