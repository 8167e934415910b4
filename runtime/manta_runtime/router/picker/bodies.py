"""The fields of a request's JSON body that the router reads, for every family of vLLM's OpenAI API; for `request.py`.

Typed decoding (msgspec) skips everything else without building it. Clients may send what vLLM would accept although it
is not what the API says (`"stream": "true"`): then the body is decoded again, leniently, and what cannot be read is
left out. Only the engine judges a request.
"""

from typing import Any

import msgspec


class Function(msgspec.Struct):
    """What a tool call calls."""

    name: str | None = None
    arguments: str | None = None


class ToolCall(msgspec.Struct):
    """One call a model made in an earlier turn."""

    function: Function | None = None


class Part(msgspec.Struct):
    """One part of a message's content: text, or something with a URL or data in it."""

    type: str = "text"
    text: str | None = None
    image_url: Any = None
    video_url: Any = None
    audio_url: Any = None
    input_audio: Any = None
    source: Any = None  # images of the messages API
    content: Any = None  # tool results of the messages API
    name: str | None = None
    input: Any = None  # tool calls of the messages API
    file: Any = None


class Message(msgspec.Struct):
    """One message of a conversation."""

    role: str = ""
    content: str | list[Part] | None = None
    name: str | None = None
    tool_calls: list[ToolCall] | None = None


class StreamOptions(msgspec.Struct):
    """How a client wants its stream."""

    include_usage: bool | None = None


class Body(msgspec.Struct):
    """One request of any family; a field that a family does not have stays None."""

    model: str | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    temperature: float | None = None
    seed: Any = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    max_output_tokens: int | None = None
    cache_salt: str | None = None
    tools: msgspec.Raw | None = None
    # The prompt, in the order in which templates put its pieces.
    instructions: str | None = None
    system: str | list[Part] | None = None
    messages: list[Message] | None = None
    prompt: str | list[Any] | None = None
    input: str | list[Any] | dict[str, Any] | None = None
    query: Any = None
    queries: Any = None
    text_1: Any = None
    data_1: Any = None
    documents: Any = None
    text_2: Any = None
    data_2: Any = None


_TYPES = {field.name: field.type for field in msgspec.structs.fields(Body)}
_typed = msgspec.json.Decoder(Body)
_untyped = msgspec.json.Decoder()


def decode(body: bytes) -> Body:
    """The fields of `body`.

    ValueError if it is not a JSON object (bad UTF-8 and numbers out of range included), TypeError if the model's name
    is not text, RecursionError if it is nested too deeply.
    """
    try:
        return _typed.decode(body)
    except msgspec.ValidationError:
        return _leniently(body)


def canonical(value: Any) -> str:
    """`value` as JSON, independent of the order of keys and of white space."""
    return msgspec.json.encode(value, order="sorted").decode("utf-8", "replace")


def _leniently(body: bytes) -> Body:
    fields = _untyped.decode(body)
    if not isinstance(fields, dict):
        raise ValueError(f"expected an object, got {type(fields).__name__}")  # noqa: TRY004 - documented
    model = fields.get("model")
    if model is not None and not isinstance(model, str):
        raise TypeError(f"model must be text, got {type(model).__name__}")
    found = Body(model=model)
    for name, kind in _TYPES.items():
        value = fields.get(name)
        if value is not None and name != "model":
            setattr(found, name, _read(name, kind, value))
    return found


def _read(name: str, kind: Any, value: Any) -> Any:
    if name == "messages" and isinstance(value, list):
        return [_message(item) for item in value]
    if name == "tools":
        return msgspec.Raw(msgspec.json.encode(value))
    try:
        return msgspec.convert(value, kind, strict=False)
    except msgspec.ValidationError:
        return None


def _message(item: Any) -> Message:
    try:
        return msgspec.convert(item, Message, strict=False)
    except msgspec.ValidationError:
        return Message(content=canonical(item))
