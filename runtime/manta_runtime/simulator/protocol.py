"""What a client asks for, and vLLM's words for what is wrong with it (compared with vLLM 0.32 in tests/e2e). Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from manta_runtime.simulator.answers import detokenize, tokenize

if TYPE_CHECKING:
    from collections.abc import Sequence

    from manta_runtime.simulator.settings import Settings

Kind = Literal["chat", "completion"]
_DEFAULT_TOKENS = 16  # of a completion, in OpenAI's API and so in vLLM


@dataclass(frozen=True)
class Asked:
    """A request that can be served. `user` is OpenAI's field of that name: who asks, and here the request's id."""

    kind: Kind
    model: str
    prompts: tuple[str, ...]
    n: int
    max_tokens: int
    stop: tuple[str, ...]
    ignore_eos: bool
    stream: bool
    usage: bool
    continuous_usage: bool
    user: str


class Refused(Exception):
    """The HTTP status and the body vLLM would answer with."""

    def __init__(self, status: int, message: str, kind: str, param: str | None) -> None:
        super().__init__(message)
        self.status = status
        self.body = {"error": {"message": message, "type": kind, "param": param, "code": status}}


def bad(message: str, param: str | None, value: object = None) -> Refused:
    """Return the refusal of a value vLLM itself has checked."""
    said = "" if value is None else f", value={value}"
    text = f"{message} (parameter={param}{said})" if param else message
    return Refused(400, text, "BadRequestError", param)


def invalid(kind: str, place: str, message: str, given: str) -> Refused:
    """Return the refusal of a body that does not have the form of the request."""
    text = f"1 validation error:\n  {{'type': '{kind}', 'loc': '{place}', 'msg': '{message}', 'input': '{given}'}}"
    return Refused(400, text, "Bad Request", place)


def render_chat(messages: Sequence[Mapping[str, Any]]) -> str:
    """Return the prompt of a chat: the simulator's chat template."""
    return "".join(f"{message.get('role')}: {_content(message.get('content'))}\n" for message in messages)


def read_json(raw: bytes, content_type: str) -> Mapping[str, Any]:
    """Return the body as an object. Raises Refused."""
    if content_type != "application/json":
        only = "1 validation error:\n  Unsupported Media Type: Only 'application/json' is allowed"
        raise Refused(400, only, "Bad Request", None)
    if not raw:
        raise invalid("missing", "body", "Field required", "None")
    try:
        body = json.loads(raw)
    except json.JSONDecodeError as error:
        raise invalid("json_invalid", f"body.{error.pos}", "JSON decode error", "<dict of 0 items>") from error
    except UnicodeDecodeError as error:
        raise invalid("json_invalid", "body", "JSON decode error", "<bytes>") from error
    if not isinstance(body, dict):
        what = "Input should be a valid dictionary or object to extract fields from"
        given = f"<list of {len(body)} items>" if isinstance(body, list) else str(body)[:100]
        raise invalid("model_attributes_type", "body", what, given)
    return body


def parse(body: Mapping[str, Any], kind: Kind, settings: Settings) -> Asked:
    """Read a chat or a completion. Raises Refused."""
    prompts = _prompts(body, kind)
    model = check_model(body, settings)
    longest = max(len(tokenize(prompt)) for prompt in prompts)
    if longest >= settings.max_model_len:
        raise bad(
            f"This model's maximum context length is {settings.max_model_len} tokens. However, your prompt contains at "
            f"least {settings.max_model_len + 1} input tokens, which exceeds this limit even without any output "
            "tokens. Please reduce the length of the input prompt.",
            "input_tokens",
            settings.max_model_len + 1,
        )
    temperature = body.get("temperature")
    if isinstance(temperature, int | float) and temperature < 0:
        raise bad(f"temperature must be non-negative, got {float(temperature)}.", "temperature", float(temperature))
    n = _integer(body, "n") or 1
    if n > 1 and temperature == 0:
        raise bad(f"n must be 1 when using greedy sampling, got {n}.", None)
    options = body.get("stream_options") or {}
    stop = body.get("stop") or ()
    return Asked(
        kind=kind,
        model=model,
        prompts=prompts,
        n=n,
        max_tokens=min(_max_tokens(body, kind, settings), settings.max_model_len - longest),
        stop=(stop,) if isinstance(stop, str) else tuple(stop),
        ignore_eos=bool(body.get("ignore_eos")),
        stream=bool(body.get("stream")),
        usage=bool(options.get("include_usage")),
        continuous_usage=bool(options.get("continuous_usage_stats")),
        user=str(body.get("user") or ""),
    )


def check_model(body: Mapping[str, Any], settings: Settings) -> str:
    """Return the name of the model asked for, the first one served when none is. Raises Refused."""
    model = body.get("model") or settings.served_names[0]
    if model not in settings.served_names:
        names = ", ".join(settings.served_names)
        text = f"The model `{model}` does not exist. Valid aliases: {names}."
        raise Refused(404, text, "NotFoundError", "model")
    return str(model)


def _prompts(body: Mapping[str, Any], kind: Kind) -> tuple[str, ...]:
    if kind == "chat":
        messages = body.get("messages")
        if not isinstance(messages, list):
            raise invalid("missing", "body.messages", "Field required", f"<dict of {len(body)} items>")
        return (render_chat([message for message in messages if isinstance(message, Mapping)]),)
    prompt = body.get("prompt")
    if not prompt:
        raise bad("Either prompt or prompt_embeds must be provided and non-empty.", "prompt")
    if isinstance(prompt, str):
        return (prompt,)
    if isinstance(prompt[0], int):
        return (_text(prompt),)
    return tuple(each if isinstance(each, str) else _text(each) for each in prompt)


def _text(tokens: Sequence[int]) -> str:
    try:
        return detokenize(tokens)
    except (ValueError, TypeError):
        # Tokens of another vocabulary: what counts is how many there are.
        return "".join(f"{token:<4.4}" for token in map(str, tokens))


def _max_tokens(body: Mapping[str, Any], kind: Kind, settings: Settings) -> int:
    asked = _integer(body, "max_completion_tokens") if kind == "chat" else None
    asked = _integer(body, "max_tokens") if asked is None else asked
    if asked is None:
        return settings.max_model_len if kind == "chat" else _DEFAULT_TOKENS
    if asked < 1:
        raise bad(f"max_tokens must be at least 1, got {asked}.", "max_tokens", asked)
    if asked > settings.max_model_len:
        raise bad(
            f"max_tokens={asked} cannot be greater than max_model_len={settings.max_model_len}. "
            "Please request fewer output tokens.",
            "max_tokens",
            asked,
        )
    return asked


def _integer(body: Mapping[str, Any], name: str) -> int | None:
    value = body.get(name)
    if value is None or (isinstance(value, int) and not isinstance(value, bool)):
        return value
    what = "Input should be a valid integer"
    raise invalid("int_type", f"body.{name}", what, str(value)[:100])


def _content(content: object) -> str:
    if isinstance(content, list):
        return "".join(str(part.get("text", "")) for part in content if isinstance(part, Mapping))
    return str(content or "")
