"""Envoy's listener: how a client's request is checked, routed, logged and answered. Pure; part of `bootstrap.py`.

Order of a request: our headers stripped → route table (allowed paths only) → /healthz → picker asked (ext_authz) →
tokens counted (`usage.py`) → engine.
"""

from typing import Any

from manta_runtime.router import access_log, asking, local_replies, routes, tracing, usage
from manta_runtime.router.clusters import BUFFER_BYTES
from manta_runtime.router.config import RouterConfig

Json = dict[str, Any]

STAT_PREFIX = "router"

_TYPE = "type.googleapis.com/envoy.extensions."
_RECEIVE_SECONDS = 300  # for a whole request to arrive
_IDLE_SECONDS = 900  # in mid-stream, at least: engines may pause


def build(config: RouterConfig, address: Json) -> Json:
    """The listener on `address` with its one HTTP connection manager."""
    manager = {
        "@type": _TYPE + "filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": STAT_PREFIX,
        # One protocol, one parser: HTTP/2 would bring its own attacks, and gateways speak HTTP/1.1 to Services.
        "codec_type": "HTTP1",
        "server_header_transformation": "PASS_THROUGH",
        "normalize_path": True,
        "merge_slashes": True,
        "path_with_escaped_slashes_action": "REJECT_REQUEST",
        # Nobody is trusted because of where a request comes from: x-envoy-* and x-request-id of clients are dropped.
        "use_remote_address": True,
        "internal_address_config": {},
        "early_header_mutation_extensions": [_strip_headers()],
        "always_set_request_id_in_response": True,
        **_timeouts(config),
        "drain_timeout": "1s",
        "local_reply_config": local_replies.build(config),
        "http_filters": [_health(), asking.build(config), *usage.build(), _router()],
        "route_config": routes.build(config),
        "access_log": access_log.build(),
    }
    if config.tracing:
        manager["tracing"] = tracing.build(config.tracing)
    return {
        "name": "http",
        "address": address,
        "per_connection_buffer_limit_bytes": BUFFER_BYTES,
        "filter_chains": [
            {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
        ],
    }


def _timeouts(config: RouterConfig) -> Json:
    """While a request is held, or waits for its engine, nothing moves: neither may look like a dead client."""
    tries = (1 + config.retries) * config.timeouts.first_byte_seconds
    waiting = asking.answer_seconds(config) + min(tries, config.timeouts.request_seconds)
    return {
        "request_headers_timeout": "10s",
        "request_timeout": f"{_RECEIVE_SECONDS + asking.answer_seconds(config)}s",  # ends when an engine has it all
        "stream_idle_timeout": f"{max(_IDLE_SECONDS, waiting + 60)}s",
        "common_http_protocol_options": {"idle_timeout": "600s"},
    }


def _strip_headers() -> Json:
    """Remove what only the router may say, before any filter sees the request."""
    removals: list[Json] = [
        {"remove_on_match": {"key_matcher": {"prefix": "x-envoy-", "ignore_case": True}}},
        {"remove_on_match": {"key_matcher": {"prefix": "x-gateway-", "ignore_case": True}}},
        {"remove_on_match": {"key_matcher": _ours_but(asking.EXPLAIN_HEADER)}},
        # Envoy keeps that of a client on a loopback address, a mesh's sidecar for one: two requests would be one.
        {"remove": "x-request-id"},
    ]
    return {
        "name": "envoy.http.early_header_mutation.header_mutation",
        "typed_config": {
            "@type": _TYPE + "http.early_header_mutation.header_mutation.v3.HeaderMutation",
            "mutations": removals,
        },
    }


def _ours_but(allowed: str) -> Json:
    """Every x-manta- header except one. RE2 knows no look-ahead: a longer name and every shorter one."""
    rest = allowed.removeprefix("x-manta-")
    shorter = "|".join(f"{rest[:end]}([^{rest[end]}].*)?" for end in range(len(rest)))
    return {"safe_regex": {"regex": f"(?i)x-manta-({shorter}|{rest}.+)"}}


def _health() -> Json:
    return {
        "name": "envoy.filters.http.health_check",
        "typed_config": {
            "@type": _TYPE + "filters.http.health_check.v3.HealthCheck",
            "pass_through_mode": False,
            "headers": [{"name": ":path", "string_match": {"exact": "/healthz"}}],
        },
    }


def _router() -> Json:
    return {
        "name": "envoy.filters.http.router",
        "typed_config": {
            "@type": _TYPE + "filters.http.router.v3.Router",
            "suppress_envoy_headers": True,
            "dynamic_stats": False,
        },
    }
