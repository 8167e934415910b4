"""What Envoy answers by itself (no engine, timeouts, bodies too large …) as OpenAI errors. Pure; part of `listener.py`.

Envoy takes every 5xx of an ext_authz server for a failure of that server and drops its body, and it cannot tell the
picker's 400 from its own. So the picker says "no ready replica" with 480, "bad request" with 481 and "here is the
answer" with 482; they become 503, 400 and 200 here, under the picker's own body and content type.
"""

from typing import Any

from manta_runtime.router.config import RouterConfig
from manta_runtime.router.openai_errors import error

Json = dict[str, Any]

# What the picker answers → what the client gets. No mapper below may match a status the picker uses for itself (404).
NO_REPLICA_STATUS = 480
BAD_REQUEST_STATUS = 481
ANSWERED_STATUS = 482
PICKER_STATUSES = {NO_REPLICA_STATUS: 503, BAD_REQUEST_STATUS: 400, ANSWERED_STATUS: 200}
PICKER_FAILED_STATUS = 500

JSON_TYPE = "application/json"
_INVALID = "invalid_request_error"


def build(config: RouterConfig) -> Json:
    """The local_reply_config of the HTTP connection manager. The first mapper that matches wins."""
    limit = config.max_body_bytes
    return {
        "mappers": [
            *(_picker_said(answered, meant) for answered, meant in PICKER_STATUSES.items()),
            _mapper(
                _status(PICKER_FAILED_STATUS),
                503,
                "the router cannot choose a replica: its endpoint picker does not answer; retry in a few seconds",
                "picker_unavailable",
            ),
            {"filter": _flags("UAEX")},  # refused by the picker, who says why
            _mapper(_status(403), 403, "this connection cannot be upgraded; send plain HTTP", "no_upgrade", _INVALID),
            _mapper(_status(413), 413, f"the request body exceeds {limit} bytes", "request_too_large", _INVALID),
            _mapper(_status(431), 431, "the request headers are too large", "headers_too_large", _INVALID),
            _mapper(_status(408), 408, "the request did not arrive in time", "request_timeout", _INVALID),
            # Before the others: the last of several tries may have run out of time.
            _mapper(_flags("UT", "SI", "DT", "UMSDR"), 504, "the engine did not answer in time", "engine_timeout"),
            # Before URX, which says only that no try is left.
            _mapper(
                _flags("UC", "UR", "LR", "UPE"),
                502,
                "the engine broke off the connection",
                "engine_disconnected",
            ),
            _mapper(
                _flags("UF", "URX", "UH", "UO"),
                503,
                "the engine cannot be reached; retry",
                "engine_unreachable",
            ),
            _mapper(_status(504), 504, "the engine did not answer in time", "engine_timeout"),
            _mapper(_status(503), 503, "the router cannot serve this now; retry", "unavailable"),
            _mapper(_status(400), 400, "this is not a valid HTTP request", "bad_request", _INVALID),
        ]
    }


def _picker_said(answered: int, meant: int) -> Json:
    """Pass the picker's own body on under the status it meant."""
    return {"filter": _status(answered), "status_code": meant}


def _mapper(when: Json, status: int, message: str, code: str, kind: str = "service_unavailable") -> Json:
    return {
        "filter": when,
        "status_code": status,
        "body_format_override": {"json_format": error(message, kind=kind, code=code)},
    }


def _status(code: int) -> Json:
    value = {"default_value": code, "runtime_key": f"manta.unused.{code}"}
    return {"status_code_filter": {"comparison": {"op": "EQ", "value": value}}}


def _flags(*names: str) -> Json:
    return {"response_flag_filter": {"flags": list(names)}}
