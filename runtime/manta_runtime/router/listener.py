"""Envoy's listener: how a client's request is checked, routed, logged and answered. Pure; part of `bootstrap.py`.

Order of a request: our headers stripped → route table (allowed paths only) → /healthz → picker asked (ext_authz) →
engine.
"""

from typing import Any

from manta_runtime.router import local_replies
from manta_runtime.router.config import RouterConfig
from manta_runtime.router.openai_errors import body

Json = dict[str, Any]

STAT_PREFIX = "router"
DESTINATION_HEADER = "x-gateway-destination-endpoint"
REPLICA_HEADER = "x-manta-replica"
PICK_PREFIX = "/pick"

# Families of vLLM's API that clients may use. Anything else an engine serves (/metrics, /invocations, /tokenize,
# /v1/load_lora_adapter …) is for operators: it is not reachable through the router. No percent-escapes: engines decode
# them after we have matched.
PATHS = r"/v1/(chat|completions|embeddings|responses|models|messages|audio|rerank|score)(/[A-Za-z0-9_.:-]+)*"

_TYPE = "type.googleapis.com/envoy.extensions."
_STREAM_IDLE = "900s"  # a request may wait long in an engine's queue before its first token
_FLUSH = "0.02s"  # how stale the picker's in-flight counts may be


def build(config: RouterConfig, address: Json) -> Json:
    """The listener on `address` with its one HTTP connection manager."""
    manager = {
        "@type": _TYPE + "filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": STAT_PREFIX,
        "server_header_transformation": "PASS_THROUGH",
        "normalize_path": True,
        "merge_slashes": True,
        "path_with_escaped_slashes_action": "REJECT_REQUEST",
        # Nobody is trusted because of where a request comes from: x-envoy-* and x-request-id of clients are dropped.
        "use_remote_address": True,
        "internal_address_config": {},
        "early_header_mutation_extensions": [_strip_headers()],
        "always_set_request_id_in_response": True,
        "request_headers_timeout": "10s",
        "request_timeout": "300s",  # to receive the whole request; answers are not limited
        "stream_idle_timeout": _STREAM_IDLE,
        "common_http_protocol_options": {"idle_timeout": "600s"},
        "drain_timeout": "1s",
        "local_reply_config": local_replies.build(config),
        "http_filters": [_health(), _ask_picker(config), _router()],
        "route_config": _routes(),
        "access_log": [_log_stdout(), _log_picker()],
    }
    return {
        "name": "http",
        "address": address,
        "per_connection_buffer_limit_bytes": 1 << 20,
        "filter_chains": [
            {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
        ],
    }


def _strip_headers() -> Json:
    """Remove what only the router may say, before any filter sees the request."""
    removals: list[Json] = [
        {"remove_on_match": {"key_matcher": {"prefix": prefix, "ignore_case": True}}}
        for prefix in ("x-envoy-", "x-manta-", "x-gateway-")
    ]
    return {
        "name": "envoy.http.early_header_mutation.header_mutation",
        "typed_config": {
            "@type": _TYPE + "http.early_header_mutation.header_mutation.v3.HeaderMutation",
            "mutations": removals,
        },
    }


def _health() -> Json:
    return {
        "name": "envoy.filters.http.health_check",
        "typed_config": {
            "@type": _TYPE + "filters.http.health_check.v3.HealthCheck",
            "pass_through_mode": False,
            "headers": [{"name": ":path", "string_match": {"exact": "/healthz"}}],
        },
    }


def _ask_picker(config: RouterConfig) -> Json:
    """Ask the picker once per request, with the whole body; without its answer nothing goes through."""
    asked = ("content-type", "x-request-id")
    return {
        "name": "envoy.filters.http.ext_authz",
        "typed_config": {
            "@type": _TYPE + "filters.http.ext_authz.v3.ExtAuthz",
            "failure_mode_allow": False,
            "status_on_error": {"code": "InternalServerError"},
            "with_request_body": {"max_request_bytes": config.max_body_bytes, "allow_partial_message": False},
            "allowed_headers": {"patterns": [{"exact": name} for name in asked]},
            "http_service": {
                "server_uri": {"uri": "http://picker", "cluster": "picker", "timeout": "5s"},
                "path_prefix": PICK_PREFIX,
                "authorization_response": {
                    "allowed_upstream_headers": {"patterns": [{"exact": DESTINATION_HEADER}]},
                    "allowed_client_headers": {"patterns": [{"exact": "retry-after"}, {"exact": "content-type"}]},
                    "allowed_client_headers_on_success": {"patterns": [{"exact": REPLICA_HEADER}]},
                },
            },
        },
    }


def _router() -> Json:
    return {
        "name": "envoy.filters.http.router",
        "typed_config": {
            "@type": _TYPE + "filters.http.router.v3.Router",
            "suppress_envoy_headers": True,
        },
    }


def _routes() -> Json:
    unknown = body(
        "no such endpoint; the OpenAI API is served under /v1", kind="invalid_request_error", code="not_found"
    )
    not_asked = {
        "envoy.filters.http.ext_authz": {
            "@type": _TYPE + "filters.http.ext_authz.v3.ExtAuthzPerRoute",
            "disabled": True,
        }
    }
    engines = {
        "match": {"safe_regex": {"regex": PATHS}},
        "route": {
            "cluster": "engines",
            "timeout": "0s",  # a stream may take as long as it takes
            # Safe for any method: nothing of the request has left for the engine.
            "retry_policy": {"retry_on": "reset-before-request", "num_retries": 1},
        },
    }
    rest = {
        "match": {"prefix": "/"},
        "direct_response": {"status": 404, "body": {"inline_string": unknown.decode()}},
        "response_headers_to_add": [
            {
                "header": {"key": "content-type", "value": local_replies.JSON_TYPE},
                "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
            }
        ],
        "typed_per_filter_config": not_asked,
    }
    host = {"name": "all", "domains": ["*"], "routes": [engines, rest]}
    return {"name": "routes", "virtual_hosts": [host]}


def _log_stdout() -> Json:
    fields = {
        "time": "%START_TIME%",
        "request_id": "%REQ(X-REQUEST-ID)%",
        "method": "%REQ(:METHOD)%",
        "path": "%REQ(:PATH)%",
        "status": "%RESPONSE_CODE%",
        "flags": "%RESPONSE_FLAGS%",
        "details": "%RESPONSE_CODE_DETAILS%",
        "replica": "%RESP(X-MANTA-REPLICA)%",
        "upstream": "%UPSTREAM_HOST%",
        "client": "%DOWNSTREAM_REMOTE_ADDRESS%",
        "bytes_received": "%BYTES_RECEIVED%",
        "bytes_sent": "%BYTES_SENT%",
        "duration_ms": "%DURATION%",
        "first_byte_ms": "%RESPONSE_DURATION%",
    }
    return {
        "name": "envoy.access_loggers.stdout",
        "filter": {"not_health_check_filter": {}},
        "typed_config": {
            "@type": _TYPE + "access_loggers.stream.v3.StdoutAccessLog",
            "log_format": {"json_format": fields},
        },
    }


def _log_picker() -> Json:
    """Tell the picker of every request that ended: fluentd's forward protocol over TCP, in small batches."""
    return {
        "name": "envoy.access_loggers.fluentd",
        "filter": {"not_health_check_filter": {}},
        "typed_config": {
            "@type": _TYPE + "access_loggers.fluentd.v3.FluentdAccessLogConfig",
            "cluster": "picker-log",
            "tag": "done",
            "stat_prefix": "picker",
            "buffer_flush_interval": _FLUSH,
            "buffer_size_bytes": 16384,
            "retry_options": {
                "max_connect_attempts": 1_000_000_000,
                "backoff_options": {"base_interval": "0.1s", "max_interval": "1s"},
            },
            "record": {"id": "%REQ(X-REQUEST-ID)%", "flags": "%RESPONSE_FLAGS%"},
        },
    }
