"""OpenAI's Responses, told as vLLM tells them. Part of `speaking.py`."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

from manta_runtime.simulator.forms import invalid, missing
from manta_runtime.simulator.protocol import parse
from manta_runtime.simulator.speaking import Dialect, Json, Telling, event, pieces

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from manta_runtime.simulator.protocol import Asked
    from manta_runtime.simulator.settings import Settings

_BEFORE: Json = {"object": "response"}
_SETTINGS: Json = {"parallel_tool_calls": True, "tool_choice": "none", "tools": [], "background": False}
_NOTHING = dict.fromkeys(("max_tool_calls", "previous_response_id", "prompt", "reasoning", "text", "top_logprobs"))
_NEITHER = dict.fromkeys(("kv_transfer_params", "ec_transfer_params", "input_messages", "output_messages"))
_PENALTIES = {"presence_penalty": 0.0, "frequency_penalty": 0.0}


def _read(body: Mapping[str, Any], settings: Settings) -> Asked:
    """As a chat: the input, after the instructions. Raises Refused."""
    given = body.get("input")
    if given is None:
        raise missing({**body, "tools": None}, "input")  # vLLM puts one in before it looks
    if not isinstance(given, str | list):
        raise invalid("string_type", "body.input", "Input should be a valid string", given)
    messages = [{"role": "user", "content": given}] if isinstance(given, str) else given
    if body.get("instructions"):
        messages = [{"role": "system", "content": body["instructions"]}, *messages]
    same = ("model", "stream", "temperature", "user", "ignore_eos")
    chat = {name: body[name] for name in same if name in body}
    return parse(chat | {"messages": messages, "max_tokens": body.get("max_output_tokens")}, "chat", settings)


def _whole(telling: Telling) -> Json:
    return _response(telling, _item(telling, f"msg_{secrets.token_hex(8)}", done=True))


async def _events(telling: Telling) -> AsyncIterator[bytes]:
    identity = f"msg_{secrets.token_hex(8)}"
    number = 0

    def say(name: str, **body: object) -> bytes:
        nonlocal number
        number += 1
        return event(name, body | {"sequence_number": number - 1, "type": name})

    place: Json = {"content_index": 0, "item_id": identity, "output_index": 0}
    yield say("response.created", response=_response(telling, None))
    yield say("response.in_progress", response=_response(telling, None))
    yield say("response.output_item.added", item=_item(telling, identity, done=False), output_index=0)
    yield say("response.content_part.added", **place, part=_part("") | {"logprobs": []})
    async for _, text, _ in pieces(telling.jobs):
        yield say("response.output_text.delta", **place, delta=text, logprobs=[])
    text, item = telling.jobs[0].answer.text, _item(telling, identity, done=True)
    yield say("response.output_text.done", **place, text=text, logprobs=[])
    yield say("response.content_part.done", **place, part=_part(text))
    yield say("response.output_item.done", item=item, output_index=0)
    yield say("response.completed", response=_response(telling, item))


def _response(telling: Telling, item: Json | None) -> Json:
    """The response; without an item it is still being made."""
    body, asked = telling.body, telling.asked
    cut = item is not None and telling.jobs[0].answer.finish_reason == "length"
    status = "in_progress" if item is None else "incomplete" if cut else "completed"
    said = {name: body.get(name) for name in ("instructions", "metadata", "user")}
    return (
        {"id": telling.identity, "created_at": telling.created}
        | {"incomplete_details": {"reason": "max_output_tokens"} if cut else None}
        | _BEFORE
        | said
        | {"model": asked.model, "output": [] if item is None else [item], "status": status}
        | {"temperature": float(body.get("temperature") or 0), "top_p": float(body.get("top_p") or 1)}
        | {"max_output_tokens": asked.max_tokens, "service_tier": "auto", "truncation": "disabled"}
        | {"usage": None if item is None else _usage(telling)}
        | _SETTINGS
        | _NOTHING
        | _PENALTIES
        | _NEITHER
    )


def _item(telling: Telling, identity: str, *, done: bool) -> Json:
    content = [_part(telling.jobs[0].answer.text)] if done else []
    status = "completed" if done else "in_progress"
    return {"id": identity, "content": content, "role": "assistant", "status": status, "type": "message", "phase": None}


def _part(text: str) -> Json:
    return {"annotations": [], "text": text, "type": "output_text", "logprobs": None}


def _usage(telling: Telling) -> Json:
    cached, _ = telling.cached if telling.settings.prompt_details else (0, 0)
    taken: Json = {"cached_tokens": cached, "cache_write_tokens": 0}
    taken |= {"input_tokens_per_turn": [], "cached_tokens_per_turn": []}
    given: Json = {"reasoning_tokens": 0, "tool_output_tokens": 0}
    given |= {"output_tokens_per_turn": [], "tool_output_tokens_per_turn": []}
    return {
        "input_tokens": telling.prompt_tokens,
        "input_tokens_details": taken,
        "output_tokens": telling.generated,
        "output_tokens_details": given,
        "total_tokens": telling.prompt_tokens + telling.generated,
    }


RESPONSES = Dialect("resp", _read, _whole, _events)
