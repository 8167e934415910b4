"""Chat and text completions, told as vLLM tells them. Part of `speaking.py`."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from manta_runtime.simulator import bodies
from manta_runtime.simulator.protocol import Kind, parse
from manta_runtime.simulator.speaking import Dialect, Json, Telling, compact, pieces

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from manta_runtime.simulator.protocol import Asked
    from manta_runtime.simulator.settings import Settings

_DONE = b"data: [DONE]\n\n"


def _read(kind: Kind, body: Mapping[str, object], settings: Settings) -> Asked:
    return parse(body, kind, settings)


def _whole(telling: Telling) -> Json:
    asked = telling.asked
    choices = [
        bodies.choice(asked.kind, index, job.answer.text, job.answer.finish_reason, job.answer.stop_reason)
        for index, job in enumerate(telling.jobs)
    ]
    counted = bodies.usage(telling.prompt_tokens, telling.generated, _details(telling))
    start = bodies.head(asked.kind, telling.identity, telling.created, asked.model)
    return bodies.whole(asked.kind, start, choices, counted)


async def _events(telling: Telling) -> AsyncIterator[bytes]:
    async for chunk in _chunks(telling):
        yield f"data: {compact(chunk)}\n\n".encode()
    yield _DONE


async def _chunks(telling: Telling) -> AsyncIterator[Json]:
    asked = telling.asked
    start = bodies.chunk_head(asked.kind, telling.identity, telling.created, asked.model)
    if asked.kind == "chat":
        for index in range(len(telling.jobs)):
            yield _with_usage(bodies.opening(start, index), telling)
    async for index, text, done in pieces(telling.jobs):
        answer = telling.jobs[index].answer
        ended = (answer.finish_reason, answer.stop_reason) if done else None
        chunk = bodies.piece(asked.kind, start, index, text, ended)
        if ended and not asked.usage:
            chunk["system_fingerprint"] = bodies.FINGERPRINT
        yield _with_usage(chunk, telling)
    if asked.usage:
        counted = bodies.streamed_usage(telling.prompt_tokens, telling.generated, _details(telling))
        yield bodies.final_usage(start, counted)


def _with_usage(chunk: Json, telling: Telling) -> Json:
    if not telling.asked.continuous_usage:
        return chunk
    counted = bodies.streamed_usage(telling.prompt_tokens, telling.generated)
    chat = telling.asked.kind == "chat"
    return chunk | {"usage": counted | ({"completion_tokens_details": None} if chat else {})}


def _details(telling: Telling) -> Json | None:
    """Where the prompt's tokens came from; of a text completion vLLM knows only those from the cache."""
    if not telling.settings.prompt_details:
        return None
    cached, created = telling.cached
    return {"cached_tokens": cached, "created_cache_tokens": created if telling.asked.kind == "chat" else None}


CHAT = Dialect("chatcmpl", partial(_read, "chat"), _whole, _events)
TEXT = Dialect("cmpl", partial(_read, "completion"), _whole, _events)
