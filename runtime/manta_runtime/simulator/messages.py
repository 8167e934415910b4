"""Anthropic's Messages, told as vLLM tells them. Part of `speaking.py`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from manta_runtime.simulator.forms import missing
from manta_runtime.simulator.protocol import parse
from manta_runtime.simulator.speaking import Dialect, Json, Telling, event, pieces

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from manta_runtime.simulator.protocol import Asked
    from manta_runtime.simulator.settings import Settings

_BAD_FORM = "Bad Request"


def _read(body: Mapping[str, Any], settings: Settings) -> Asked:
    """As a chat: the messages, after the system prompt. Raises Refused."""
    for name in ("model", "messages", "max_tokens"):
        if body.get(name) is None:
            raise missing(body, name)
    messages = body["messages"]
    if body.get("system") and isinstance(messages, list):
        messages = [{"role": "system", "content": body["system"]}, *messages]
    same = ("model", "max_tokens", "stream", "temperature", "ignore_eos")
    chat = {name: body[name] for name in same if name in body}
    metadata = body.get("metadata")
    user = metadata.get("user_id") if isinstance(metadata, Mapping) else None
    return parse(chat | {"messages": messages, "stop": body.get("stop_sequences"), "user": user}, "chat", settings)


def _whole(telling: Telling) -> Json:
    content = [{"type": "text", "text": telling.jobs[0].answer.text}]
    stop = {name: value for name, value in _stop(telling).items() if value is not None}
    return _head(telling, content) | stop | {"usage": _usage(telling)}


async def _events(telling: Telling) -> AsyncIterator[bytes]:
    def say(name: str, **body: object) -> bytes:
        return event(name, {"type": name} | body)

    not_yet = {"stop_reason": None, "stop_sequence": None}
    message = _head(telling, []) | not_yet | {"usage": {"input_tokens": telling.prompt_tokens, "output_tokens": 0}}
    yield say("message_start", message=message)
    yield say("content_block_start", content_block={"type": "text", "text": ""}, index=0)
    async for _, text, _ in pieces(telling.jobs):
        yield say("content_block_delta", delta={"type": "text_delta", "text": text}, index=0)
    yield say("content_block_stop", index=0)
    yield say("message_delta", delta=_stop(telling), usage=_usage(telling))
    yield say("message_stop")


def _head(telling: Telling, content: list[Json]) -> Json:
    head = {"id": telling.identity, "type": "message", "role": "assistant"}
    return head | {"content": content, "model": telling.asked.model}


def _stop(telling: Telling) -> Json:
    answer = telling.jobs[0].answer
    word = answer.stop_reason if answer.finish_reason == "stop" else None
    reason = "max_tokens" if answer.finish_reason == "length" else "stop_sequence" if word else "end_turn"
    return {"stop_reason": reason, "stop_sequence": word}


def _usage(telling: Telling) -> Json:
    found = {"input_tokens": telling.prompt_tokens, "output_tokens": telling.generated}
    if not telling.settings.prompt_details:
        return found
    cached, created = telling.cached
    found["input_tokens"] -= cached + created
    return found | {"cache_creation_input_tokens": created, "cache_read_input_tokens": cached}


def _refusal(body: Json) -> Json:
    """Bodies without the right form are refused before anybody knows that it is Anthropic's API."""
    error = body["error"]
    if error["type"] == _BAD_FORM:
        return body
    return {"type": "error", "error": {"type": error["type"], "message": error["message"]}}


MESSAGES = Dialect("chatcmpl", _read, _whole, _events, _refusal)
