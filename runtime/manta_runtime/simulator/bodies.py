"""The JSON of vLLM's answers, key for key as vLLM 0.32 sends them (compared in tests/e2e). Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from manta_runtime.simulator.protocol import Kind
    from manta_runtime.simulator.settings import Settings

Json = dict[str, Any]

VERSION = "0.32.0"
FINGERPRINT = f"vllm-{VERSION}-simulated"
_DONE = {"logprobs": None, "stop_reason": None, "token_ids": None}
_NOTHING = {"kv_transfer_params": None, "ec_transfer_params": None, "metrics": None}
_PROMPT = {"prompt_logprobs": None, "prompt_token_ids": None}


def models(settings: Settings, started: int) -> Json:
    """GET /v1/models: the model by all its names, then its adapters."""
    base = settings.served_names[0]
    cards = [_model(name, settings, started) for name in settings.served_names]
    for name, path in settings.adapters:
        cards.append(_model(name, settings, started) | {"root": path, "parent": base, "max_model_len": None})
    return {"object": "list", "data": cards}


def _model(name: str, settings: Settings, started: int) -> Json:
    may = dict.fromkeys(("allow_sampling", "allow_logprobs", "allow_view"), True)
    may_not = dict.fromkeys(("allow_create_engine", "allow_search_indices", "allow_fine_tuning", "is_blocking"), False)
    permission = {"id": f"modelperm-{name}", "object": "model_permission", "created": started} | may | may_not
    return {
        "id": name,
        "object": "model",
        "created": started,
        "owned_by": "vllm",
        "root": settings.model,
        "parent": None,
        "max_model_len": settings.max_model_len,
        "permission": [permission | {"organization": "*", "group": None}],
    }


def usage(prompt: int, generated: int, details: Json | None) -> Json:
    """Tokens of a whole answer; `details`: where those of the prompt came from."""
    found = streamed_usage(prompt, generated)
    every = None if details is None else details | {"multimodal_tokens": None}
    return found | {"prompt_tokens_details": every, "completion_tokens_details": None}


def streamed_usage(prompt: int, generated: int, details: Json | None = None) -> Json:
    """Tokens as streams tell them: only what is known."""
    found: Json = {"prompt_tokens": prompt, "total_tokens": prompt + generated, "completion_tokens": generated}
    known = {name: count for name, count in (details or {}).items() if count is not None}
    return found | ({"prompt_tokens_details": known} if known else {})


def head(kind: Kind, identity: str, created: int, model: str) -> Json:
    """What a whole answer begins with."""
    name = "chat.completion" if kind == "chat" else "text_completion"
    return {"id": identity, "object": name, "created": created, "model": model}


def choice(kind: Kind, index: int, text: str, finish_reason: str, stop_reason: str | None) -> Json:
    """One choice of a whole answer."""
    ended = _DONE | {"index": index, "finish_reason": finish_reason, "stop_reason": stop_reason, "routed_experts": None}
    if kind == "completion":
        return ended | {"text": text} | _PROMPT
    empty = dict.fromkeys(("refusal", "annotations", "audio", "function_call", "reasoning"))
    return ended | {"message": {"role": "assistant", "content": text} | empty}


def whole(kind: Kind, start: Json, choices: list[Json], counted: Json) -> Json:
    """A whole answer."""
    found = start | {"choices": choices, "service_tier": None, "system_fingerprint": FINGERPRINT, "usage": counted}
    return found | (_PROMPT | {"prompt_text": None} if kind == "chat" else {}) | _NOTHING


def chunk_head(kind: Kind, identity: str, created: int, model: str) -> Json:
    """What every chunk of a stream begins with."""
    name = "chat.completion.chunk" if kind == "chat" else "text_completion"
    return {"id": identity, "object": name, "created": created, "model": model}


def opening(start: Json, index: int) -> Json:
    """The first chunk of a streamed chat: who speaks."""
    delta = {"role": "assistant", "content": ""}
    choices = [{"index": index, "delta": delta, "logprobs": None, "finish_reason": None}]
    return start | {"choices": choices, "prompt_token_ids": None, "prompt_text": None}


def piece(kind: Kind, start: Json, index: int, text: str, ended: tuple[str, str | None] | None) -> Json:
    """A chunk with text; `ended` is (finish reason, stop reason) in the last one of a choice."""
    finish_reason, stop_reason = ended or (None, None)
    found: Json = {"index": index, "logprobs": None, "finish_reason": finish_reason, "token_ids": None}
    if kind == "completion":
        found |= {"text": text, "stop_reason": stop_reason, "prompt_token_ids": None}
    else:
        found |= {"delta": {"content": text}} | ({"stop_reason": stop_reason} if ended else {})
    return start | {"choices": [found]}


def final_usage(start: Json, counted: Json) -> Json:
    """The chunk with the usage, after the last choice."""
    return start | {"choices": [], "usage": counted, "system_fingerprint": FINGERPRINT}
