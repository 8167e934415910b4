"""Tells the router what an answer cost: response headers with the tokens that a whole answer counts in its `usage`.

ASGI middleware that vLLM itself loads (`--middleware`, `commands.py`). An engine knows its numbers; a router would
have to search every answer for them. Streams count in their last event, after the headers: they pass untouched.
"""

import logging
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

import msgspec

log = logging.getLogger(__name__)

PROMPT_HEADER = "x-manta-prompt-tokens"
"""All tokens of the prompt, cached or not."""
COMPLETION_HEADER = "x-manta-completion-tokens"
CACHED_HEADER = "x-manta-cached-tokens"
"""Those of the prompt that the KV cache had."""
MIDDLEWARE = "manta_runtime.engine.usage_header.UsageHeaders"
"""For vLLM's --middleware."""

_NAMES = tuple(name.encode() for name in (PROMPT_HEADER, COMPLETION_HEADER, CACHED_HEADER))
_JSON = b"application/json"
_OK = 200

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]


class _Details(msgspec.Struct, gc=False):
    cached_tokens: int | None = None


class _Usage(msgspec.Struct, gc=False):
    """OpenAI's names, old and new, and Anthropic's: there cached tokens are beside `input_tokens`, not among them."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_tokens_details: _Details | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    input_tokens_details: _Details | None = None
    cache_read_input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None


class _Answer(msgspec.Struct, gc=False):
    usage: _Usage | None = None


_decode = msgspec.json.Decoder(_Answer).decode


def headers_of(body: bytes) -> list[tuple[bytes, bytes]]:
    """The headers for a whole JSON answer. Raises msgspec.MsgspecError."""
    return [(name, b"%d" % count) for name, count in zip(_NAMES, tokens_of(body) or (), strict=False)]


def tokens_of(body: bytes) -> tuple[int, int, int] | None:
    """Tokens of the prompt, the answer and the prompt's cached part, from a whole JSON answer; None if it counts none.

    Raises msgspec.MsgspecError for what is not such an answer. Only the outermost `usage` counts: those further in are
    what a client or a model wrote.
    """
    usage = _decode(body).usage
    if usage is None:
        return None
    if usage.prompt_tokens is not None:
        prompt, details = usage.prompt_tokens, usage.prompt_tokens_details
    elif usage.input_tokens is not None:
        beside = (usage.cache_read_input_tokens or 0) + (usage.cache_creation_input_tokens or 0)
        prompt, details = usage.input_tokens + beside, usage.input_tokens_details
    else:
        return None
    completion = usage.completion_tokens or usage.output_tokens or 0
    cached = (details.cached_tokens if details else None) or usage.cache_read_input_tokens or 0
    return prompt, completion, cached


class UsageHeaders:
    """The middleware. Whatever goes wrong in it, the answer passes as it was."""

    def __init__(self, app: App) -> None:
        self._app = app

    def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> Awaitable[None]:
        """Pass on what is no API request; watch the rest."""
        if scope["type"] != "http" or scope["method"] != "POST" or not scope["path"].startswith("/v1/"):
            return self._app(scope, receive, send)
        return self._watch(scope, receive, send)

    async def _watch(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        one = _OneAnswer(send)
        await self._app(scope, receive, one.send)
        if one.head is not None:  # headers, and then nothing at all
            await send(one.head)


class _OneAnswer:
    """Sends on; `head` is that of a whole answer, kept until its body comes, which is at once."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.head: Message | None = None

    def send(self, message: Message) -> Awaitable[None]:
        """No coroutine of our own for the chunks of a stream."""
        if self.head is not None:
            return self._both(message)
        if message["type"] == "http.response.start" and _is_whole(message):
            self.head = message
            return _nothing()
        return self._send(message)

    async def _both(self, message: Message) -> None:
        head, self.head = self.head, None
        if head is None:
            return
        if message["type"] == "http.response.body" and not message.get("more_body"):
            _tell(head, message.get("body", b""))
        await self._send(head)
        await self._send(message)


def _is_whole(head: Message) -> bool:
    """Whether it begins a good answer that is JSON and complete already: only those know their length."""
    return head["status"] == _OK and _is_json(head.get("headers", ()))


def _is_json(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    kind = length = b""
    for name, value in headers:
        if name == b"content-type":
            kind = value
        elif name == b"content-length":
            length = value
    return length != b"" and kind.startswith(_JSON)


def _tell(head: Message, body: bytes) -> None:
    try:
        head["headers"] = [*head["headers"], *headers_of(body)]
    except Exception as error:  # noqa: BLE001 - the answer matters more than its count
        log.warning("an answer's usage is not as expected, so the router does not learn of it: %s", error)


async def _nothing() -> None:
    pass
