"""What a client asks for, and vLLM's words for what is wrong with it (compared with vLLM 0.32 in tests/e2e). Pure.

The form of single fields is judged in `forms.py`; here they are put together.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from manta_runtime.simulator.answers import detokenize, tokenize
from manta_runtime.simulator.forms import (
    Refused,
    bad,
    boolean,
    integer,
    invalid,
    missing,
    number,
    text,
    texts,
    tokens,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from manta_runtime.simulator.settings import Settings

T = TypeVar("T")
Kind = Literal["chat", "completion"]
_DEFAULT_TOKENS = 16  # of a completion, in OpenAI's API and so in vLLM
_MAX_CHOICES = 16384  # VLLM_MAX_N_SEQUENCES
_HOTTEST = 2.0


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


def render_chat(messages: object) -> str:
    """Return the prompt of a chat: the simulator's chat template. Raises Refused."""
    if not isinstance(messages, list):
        raise invalid("list_type", "body.messages", "Input should be a valid list", messages)
    lines = []
    for index, message in enumerate(messages):
        if not isinstance(message, Mapping):
            raise invalid("dict_type", f"body.messages.{index}", "Input should be a valid dictionary", message)
        lines.append(f"{message.get('role')}: {_content(message.get('content'), index)}\n")
    return text("".join(lines), "body.messages")


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
        raise invalid("model_attributes_type", "body", what, body)
    return body


def parse(body: Mapping[str, Any], kind: Kind, settings: Settings) -> Asked:
    """Read a chat or a completion. Raises Refused."""
    stream = bool(_given(body, "stream", boolean))
    usage, continuous_usage = _stream_options(body)
    if settings.force_usage:  # vLLM forces both
        usage = continuous_usage = True
    stop, user = _given(body, "stop", texts) or (), _given(body, "user", text) or ""
    ignore_eos = bool(_given(body, "ignore_eos", boolean))
    n, temperature = _given(body, "n", integer), _given(body, "temperature", number)
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
    n = 1 if n is None else n
    _check_sampling(n, 1.0 if temperature is None else temperature)
    return Asked(
        kind=kind,
        model=model,
        prompts=prompts,
        n=n,
        max_tokens=min(_max_tokens(body, kind, settings), settings.max_model_len - longest),
        stop=stop,
        ignore_eos=ignore_eos,
        stream=stream,
        usage=usage,
        continuous_usage=continuous_usage,
        user=user,
    )


def check_model(body: Mapping[str, Any], settings: Settings) -> str:
    """Return the name of the model asked for, the first one served when none is. Raises Refused."""
    model = _given(body, "model", text) or settings.served_names[0]
    if model not in (*settings.served_names, *dict(settings.adapters)):
        names = ", ".join(settings.served_names)
        message = f"The model `{model}` does not exist. Valid aliases: {names}."
        raise Refused(404, message, "NotFoundError", "model")
    return model


def _given(body: Mapping[str, Any], name: str, read: Callable[[object, str], T]) -> T | None:
    """Return a field, None where it is left out or null."""
    value = body.get(name)
    return None if value is None else read(value, f"body.{name}")


def _stream_options(body: Mapping[str, Any]) -> tuple[bool, bool]:
    options = body.get("stream_options")
    if options and not body.get("stream"):
        raise bad("Stream options can only be defined when `stream=True`.", "stream_options")
    if options is None:
        return False, False
    if not isinstance(options, Mapping):
        what = "Input should be a valid dictionary or instance of StreamOptions"
        raise invalid("model_type", "body.stream_options", what, options)
    names = ("include_usage", "continuous_usage_stats")
    usage, continuous = (boolean(options.get(name) or False, f"body.stream_options.{name}") for name in names)
    return usage, continuous


def _check_sampling(n: int, temperature: float) -> None:
    if n < 1:
        raise bad(f"n must be at least 1, got {n}.", None)
    if n > _MAX_CHOICES:
        more = "To increase this limit, set the VLLM_MAX_N_SEQUENCES environment variable."
        raise bad(f"n must be at most {_MAX_CHOICES}, got {n}. {more}", None)
    if not math.isfinite(temperature):
        raise bad(f"temperature must be a finite number, got {temperature}.", "temperature", temperature)
    if temperature < 0:
        raise bad(f"temperature must be non-negative, got {temperature}.", "temperature", temperature)
    if temperature > _HOTTEST:
        raise bad(f"temperature must be in [0, 2], got {temperature}.", "temperature", temperature)
    if n > 1 and temperature == 0:
        raise bad(f"n must be 1 when using greedy sampling, got {n}.", None)


def _prompts(body: Mapping[str, Any], kind: Kind) -> tuple[str, ...]:
    if kind == "chat":
        if body.get("messages") is None:
            raise missing(body, "messages")
        return (render_chat(body["messages"]),)
    prompt, place = body.get("prompt"), "body.prompt"
    if prompt in (None, "", []):
        raise bad("Either prompt or prompt_embeds must be provided and non-empty.", "prompt")
    if isinstance(prompt, str):
        return (text(prompt, place),)
    if isinstance(prompt, list) and all(isinstance(each, str) for each in prompt):
        return texts(prompt, place)
    if isinstance(prompt, list) and all(isinstance(each, list) for each in prompt):
        return tuple(_text(tokens(each, f"{place}.{index}")) for index, each in enumerate(prompt))
    return (_text(tokens(prompt, place)),)


def _text(numbers: Sequence[int]) -> str:
    try:
        return detokenize(numbers)
    except ValueError:
        # Tokens of another vocabulary: what counts is how many there are.
        return "".join(f"{token:<4.4}" for token in map(str, numbers))


def _max_tokens(body: Mapping[str, Any], kind: Kind, settings: Settings) -> int:
    asked = _given(body, "max_completion_tokens", integer) if kind == "chat" else None
    asked = _given(body, "max_tokens", integer) if asked is None else asked
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


def _content(content: object, index: int) -> str:
    if isinstance(content, list):
        return "".join(str(part.get("text", "")) for part in content if isinstance(part, Mapping))
    return "" if content is None else text(content, f"body.messages.{index}.content")
