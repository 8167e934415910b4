"""What the picker decides of a request, whoever asked: Envoy (`answers.py`) or a gateway (`epp/`)."""

import msgspec

from manta_runtime.router import openai_errors

_INVALID = "invalid_request_error"
_UNAVAILABLE = "service_unavailable"
NO_REPLICA_SECONDS = 2
"""Retry-After while there is no replica."""
Headers = tuple[tuple[str, str], ...]


class Picked(msgspec.Struct, frozen=True, gc=False):
    """It goes to the first of `endpoints` (ip:port), and to the next ones if that fails.

    `hide_usage`: of a stream whose client did not ask for usage. `via_cache`: its answer is to be kept.
    `explain`: one line of JSON for the client, "" unless asked for. `may_stream`: its answer may be a stream.
    `alone`: no replica but these can serve it.
    """

    request_id: str
    tenant: str
    replica: str
    endpoints: tuple[str, ...]
    reason: str
    hide_usage: bool = False
    via_cache: bool = False
    explain: str = ""
    may_stream: bool = False
    alone: bool = False


class Refused(msgspec.Struct, frozen=True, gc=False):
    """The client gets this error: `status` and `body` as it sees them; `retry_after` in seconds, 0: not told."""

    status: int
    body: bytes
    code: str
    retry_after: int = 0
    headers: Headers = ()


class Answered(msgspec.Struct, frozen=True, gc=False):
    """The picker answers by itself, with 200."""

    body: bytes
    content_type: str = "application/json"
    headers: Headers = ()


Decision = Picked | Refused | Answered


def bad_request(text: str, code: str) -> Refused:
    """The request cannot be what any engine accepts."""
    return Refused(400, openai_errors.body(text, kind=_INVALID, code=code), code)


def unknown_model(model: str, known: list[str]) -> Refused:
    """No such model, as far as this client may know."""
    served = ", ".join(known) or "none"
    text = f"the model {model[:200]!r} does not exist; served here: {served}"
    return Refused(
        404, openai_errors.body(text, kind=_INVALID, code="model_not_found", param="model"), "model_not_found"
    )


def unavailable(text: str, code: str, retry_after: int) -> Refused:
    """Not now."""
    return Refused(503, openai_errors.body(text, kind=_UNAVAILABLE, code=code), code, retry_after)


def models_unknown(model: str | None) -> Refused:
    """It may exist: a replica that has not told its models may serve it."""
    text = f"model {(model or '')[:200]!r}: not all replicas have told their models yet; retry later"
    return unavailable(text, "models_unknown", NO_REPLICA_SECONDS)


def failed() -> Refused:
    """We have a bug. Not a 5xx of ours to Envoy: it would take that for no answer, and let the request through."""
    text = "the router failed at this request; its log says why"
    return Refused(503, openai_errors.body(text, kind=_UNAVAILABLE, code="router_failed"), "router_failed")


def no_place(code: str, places: int, retry_after: int) -> Refused:
    """It may not wait: `code` is `queue_full` or `queue_share_exceeded`, `places` are taken."""
    if code == "queue_share_exceeded":
        text = f"{places} requests wait for a replica, and yours hold their fair share of the places; retry later"
        return too_many(text, "requests", code, retry_after)
    return unavailable(f"{places} requests wait for a replica already; retry later", code, retry_after)


def too_many(text: str, kind: str, code: str, retry_after: int) -> Refused:
    """This client asks too much."""
    return Refused(429, openai_errors.body(text, kind=kind, code=code), code, retry_after)


def denied(text: str, status: int, kind: str, code: str, headers: Headers) -> Refused:
    """Nobody knows who asks."""
    return Refused(status, openai_errors.body(text, kind=kind, code=code), code, 0, headers)
