"""The fields of a request's JSON body that the router reads, for every family of vLLM's OpenAI API; for `request.py`.

Typed decoding (msgspec) skips everything else without building it. Clients may send what vLLM would accept although it
is not what the API says (`"stream": "true"`): then the body is decoded again, leniently, and what cannot be read is
left out. Only the engine judges a request.

The picker has one thread, and 16 MiB of `[{},{},…` would take it seconds and gigabytes. So of a body with more pieces
than a conversation has, only the options are read (`decode_options`); the JSON of its prompt serves as its text.

No structs here are tracked by the garbage collector: JSON has no cycles.
"""

import re
from typing import Any

import msgspec

# What is read leniently, or is neither text nor a list of numbers, costs microseconds each: at most so many of a body.
MOST_PIECES = 4096
# Larger bodies' objects and lists are counted before they are decoded, and their texts: (body, how many at most).
_MOST_CONTAINERS, _MOST_QUOTES = (256 << 10, 64 << 10), (4 << 20, 1 << 20)
# Half of a surrogate pair; only bodies up to so many bytes are searched for it.
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_HIGH, _LOW = rb"\\u[dD][89abAB][0-9a-fA-F]{2}", rb"\\u[dD][c-fC-F][0-9a-fA-F]{2}"
_HALF = re.compile(rb"%b(?!%b)|(?<!%b)%b" % (_HIGH, _LOW, _HIGH, _LOW))
_MEND_MAX = 256 << 10
# An option that is longer is none.
_OPTION_MAX = 1024


class TooManyPiecesError(Exception):
    """Reading this body would take too long; `decode_options` does not."""


class Function(msgspec.Struct, gc=False):
    """What a tool call calls."""

    name: str | None = None
    arguments: str | None = None


class ToolCall(msgspec.Struct, gc=False):
    """One call a model made in an earlier turn."""

    function: Function | None = None


class Part(msgspec.Struct, gc=False):
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


class Message(msgspec.Struct, gc=False):
    """One message of a conversation."""

    role: str = ""
    content: str | list[Part] | None = None
    name: str | None = None
    tool_calls: list[ToolCall] | None = None


class StreamOptions(msgspec.Struct, gc=False):
    """How a client wants its stream."""

    include_usage: bool | None = None


class Body(msgspec.Struct, gc=False):
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
    tools: msgspec.Raw = msgspec.Raw()  # in a union with None, msgspec reads no Raw
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
_PROMPT = list(_TYPES)[list(_TYPES).index("tools") :]
_Raws = msgspec.defstruct("_Raws", [(name, msgspec.Raw, msgspec.Raw()) for name in _TYPES], gc=False)
_typed = msgspec.json.Decoder(Body)
_untyped = msgspec.json.Decoder()
_raws = msgspec.json.Decoder(_Raws)
_model = msgspec.json.Decoder(str | None)


def decode(body: bytes) -> Body:
    """The fields of `body`.

    ValueError if it is not a JSON object (bad UTF-8 and numbers out of range included), TypeError if the model's name
    is not text, RecursionError if it is nested too deeply, TooManyPiecesError if that would take too long.
    """
    if len(body) > _MOST_CONTAINERS[0] and _is_crumbs(body):
        raise TooManyPiecesError
    try:
        return _decode(body)
    except msgspec.DecodeError:
        mended = _mended(body)
        if mended == body:
            raise
        return _decode(mended)


def _decode(body: bytes) -> Body:
    try:
        return _typed.decode(body)
    except msgspec.ValidationError:
        return _leniently(body)


def _mended(body: bytes) -> bytes:
    """Without halves of surrogate pairs: JavaScript's clients cut emojis in two, and Python's json reads that."""
    if len(body) > _MEND_MAX or not _SURROGATE.search(body):
        return body
    # Escaped backslashes are out of the way meanwhile; there are no raw NULs in JSON.
    return _HALF.sub(rb"\\ufffd", body.replace(rb"\\", b"\0\0")).replace(b"\0\0", rb"\\")


def decode_options(body: bytes) -> tuple[Body, str]:
    """All but the prompt of `body`, and the JSON of its prompt as it came. Raises what `decode` raises, but one."""
    raws = _raws.decode(body)
    found = Body(model=_model_of(raws))
    for name, kind in _TYPES.items():
        raw = getattr(raws, name)
        if name not in _PROMPT and name != "model" and 0 < len(raw) <= _OPTION_MAX:
            setattr(found, name, _read(kind, _untyped.decode(raw)))
    prompt = (getattr(raws, name) for name in _PROMPT)
    return found, "\0".join([bytes(raw).decode("utf-8", "replace") for raw in prompt if len(raw)])


def _is_crumbs(body: bytes) -> bool:
    """Whether it may have too many pieces; those that are only spelled out in a text are counted too."""
    if body.count(b"{") + body.count(b"[") > _MOST_CONTAINERS[1]:
        return True
    return len(body) > _MOST_QUOTES[0] and body.count(b'"') > _MOST_QUOTES[1]


def canonical(value: Any) -> str:
    """`value` as JSON, independent of the order of keys and of white space."""
    return msgspec.json.encode(value, order="sorted").decode("utf-8", "replace")


def _leniently(body: bytes) -> Body:
    raws: Any = _raws.decode(body)
    found = Body(model=_model_of(raws), tools=raws.tools)
    for name, kind in _TYPES.items():
        raw = getattr(raws, name)
        if len(raw) and name not in ("model", "tools"):
            value = _untyped.decode(raw)
            setattr(found, name, _messages(value) if name == "messages" else _read(kind, value))
    return found


def _model_of(raws: Any) -> str | None:
    try:
        return _model.decode(raws.model) if len(raws.model) else None
    except msgspec.ValidationError as error:
        raise TypeError(f"model must be text: {error}") from None


def _read(kind: Any, value: Any) -> Any:
    try:
        return msgspec.convert(value, kind, strict=False)
    except msgspec.ValidationError:
        return None


def _messages(value: Any) -> list[Message] | None:
    if not isinstance(value, list):
        return None
    if len(value) > MOST_PIECES:
        raise TooManyPiecesError
    return [_message(item) for item in value]


def _message(item: Any) -> Message:
    try:
        return msgspec.convert(item, Message, strict=False)
    except msgspec.ValidationError:
        return Message(content=canonical(item))
