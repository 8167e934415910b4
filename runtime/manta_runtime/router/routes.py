"""Which requests go where, how long they may take, and when they are tried again. Pure; part of `listener.py`."""

from typing import Any

from manta_runtime.router import asking, local_replies
from manta_runtime.router.config import RouterConfig
from manta_runtime.router.endpoints import CLUSTER
from manta_runtime.router.openai_errors import body
from manta_runtime.router.picker.keys import MISSING

Json = dict[str, Any]

# Families of vLLM's API that clients may use. Anything else an engine serves (/metrics, /invocations, /tokenize,
# /v1/load_lora_adapter …) is for operators: it is not reachable through the router. No percent-escapes: engines decode
# them after we have matched.
PATHS = r"/v1/(chat|completions|embeddings|responses|models|messages|audio|rerank|score)(/[A-Za-z0-9_.:-]+)*"

_METHODS = {"name": ":method", "string_match": {"safe_regex": {"regex": "GET|POST|HEAD|DELETE"}}}

# What pages of any origin may ask; "*" does not stand for authorization. Who may read an answer is the engine's say.
_PREFLIGHT_HEADERS = {
    "access-control-allow-origin": "*",
    "access-control-allow-methods": "GET, POST, DELETE",
    "access-control-allow-headers": "authorization, *",
    "access-control-max-age": "86400",
}

# All of it before the first byte of an answer has come; afterwards Envoy never tries again.
_RETRY_ON = "connect-failure,refused-stream,reset,retriable-status-codes"
_QUEUE_FULL = 503
_SECRETS = ("authorization", "x-api-key", asking.EXPLAIN_HEADER)
# What only the router tells its clients. Tokens (`usage.py`) are not among them: they are taken out later.
_ROUTERS_OWN = (
    asking.REPLICA_HEADER,
    asking.EXPLAIN_HEADER,
    asking.TENANT_HEADER,
    asking.REASON_HEADER,
    asking.USAGE_HEADER,
    asking.WAY_HEADER,
    "x-manta-cache",
)
# Beyond the picker's list, and without a picker, Envoy draws three at random, takes the one with the fewest requests,
# and draws again when it has been there. The last replica that works is the busiest, so all three must be it: a draw in
# 27 where two of three are dead, in 216 where five of six are (`retries: 5`; a thousand draws then miss it in 1 %).
# A retry that finds nobody else costs Envoy less than a tenth of a millisecond by it.
_DRAWS = 1000

_PREVIOUS_HOSTS = "type.googleapis.com/envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"


def build(config: RouterConfig) -> Json:
    """The route table."""
    routes = [_engines(config), _preflight(), _wrong_method(), _rest()]
    if config.cache:
        routes.insert(0, _cache(config))
    if config.auth:
        routes.insert(0, _no_key())
    return {"name": "routes", "virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}]}


def _engines(config: RouterConfig) -> Json:
    """An engine, and while it has sent nothing, another one."""
    return {
        "match": {"safe_regex": {"regex": PATHS}, "headers": [_METHODS]},
        "request_headers_to_remove": [*_SECRETS, asking.DESTINATION_HEADER, asking.WAY_HEADER],
        "response_headers_to_remove": list(_ROUTERS_OWN),
        "request_body_buffer_limit": config.max_body_bytes + 1024,
        "route": {
            "cluster": CLUSTER,
            "timeout": f"{config.timeouts.request_seconds}s",
            "retry_policy": {
                "retry_on": _RETRY_ON,
                "retriable_status_codes": [_QUEUE_FULL],
                "num_retries": config.retries,
                "per_try_timeout": f"{config.timeouts.first_byte_seconds}s",
                "retry_host_predicate": [
                    {"name": "envoy.retry_host_predicates.previous_hosts", "typed_config": {"@type": _PREVIOUS_HOSTS}}
                ],
                "host_selection_retry_max_attempts": _DRAWS,
            },
        },
    }


def _cache(config: RouterConfig) -> Json:
    """The picker's own proxy, which keeps the answer. It is told where to go by the same header."""
    return {
        "match": {
            "safe_regex": {"regex": PATHS},
            "headers": [_METHODS, {"name": asking.WAY_HEADER, "string_match": {"exact": "cache"}}],
        },
        "request_headers_to_remove": [*_SECRETS, asking.WAY_HEADER],
        "request_body_buffer_limit": config.max_body_bytes + 1024,
        "route": {"cluster": "cache", "timeout": f"{config.timeouts.request_seconds}s"},
    }


def _no_key() -> Json:
    """Who sends no key at all is refused before a byte of the body is kept; keys are the picker's to check."""
    match = {
        "safe_regex": {"regex": PATHS},
        "headers": [*({"name": name, "present_match": False} for name in ("authorization", "x-api-key")), _METHODS],
    }
    return _refused(match, MISSING.status, MISSING.text, MISSING.code, dict(MISSING.headers))


def _preflight() -> Json:
    """A browser asks, without the key, whether a page may send a request."""
    asks = ("origin", "access-control-request-method")
    headers: list[Json] = [{"name": ":method", "string_match": {"exact": "OPTIONS"}}]
    headers += [{"name": name, "present_match": True} for name in asks]
    match = {"safe_regex": {"regex": PATHS}, "headers": headers}
    return _direct(match, {"status": 204}, _PREFLIGHT_HEADERS)


def _rest() -> Json:
    text = "no such endpoint; the OpenAI API is served under /v1"
    return _refused({"prefix": "/"}, 404, text, "not_found")


def _wrong_method() -> Json:
    """TRACE would show a client what others put into its request; nobody needs the rest."""
    return _refused({"safe_regex": {"regex": PATHS}}, 405, "this method is not allowed here", "method_not_allowed")


def _refused(match: Json, status: int, text: str, code: str, headers: dict[str, str] | None = None) -> Json:
    said = body(text, kind="invalid_request_error", code=code)
    response = {"status": status, "body": {"inline_string": said.decode()}}
    return _direct(match, response, {"content-type": local_replies.JSON_TYPE, **(headers or {})})


def _direct(match: Json, response: Json, headers: dict[str, str]) -> Json:
    """Envoy answers by itself."""
    return {
        "match": match,
        "direct_response": response,
        "response_headers_to_add": [
            {"header": {"key": key, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
            for key, value in headers.items()
        ],
        "typed_per_filter_config": asking.not_asked(),
    }
