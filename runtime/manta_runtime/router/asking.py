"""How Envoy asks the picker: one question a request, the client's whole body with it. Pure; part of `listener.py`.

What the picker says of the request (where to send it, tenant, reason, usage) becomes metadata of the request in Envoy,
for its balancing, filters and logs: engines never see it. Only the way to the response cache is chosen by a header.
"""

from typing import Any

from manta_runtime.router.config import RouterConfig

Json = dict[str, Any]

FILTER = "envoy.filters.http.ext_authz"
PICK_PREFIX = "/pick"
DESTINATION_HEADER = "x-gateway-destination-endpoint"
WAY_HEADER = "x-manta-way"
REPLICA_HEADER = "x-manta-replica"
TENANT_HEADER = "x-manta-tenant"
REASON_HEADER = "x-manta-reason"
USAGE_HEADER = "x-manta-usage"
HIDE, COUNT = "hide", "count"
"""What the picker says in it of requests whose answer may be a stream: hide its usage, or let the client see it."""
EXPLAIN_HEADER = "x-manta-explain"

_TYPE = "type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3."
_LATE_SECONDS = 10
# A picker that restarts is back in a few seconds, on a busy node in ten. Waits grow from 0.2 s, doubling, each cut
# short at random: 7 tries take 12 s on average, one of a hundred less than 4 (docs/adr/0013). Asking again is harmless.
TRIES = 7
_FIRST_WAIT = "0.2s"


def answer_seconds(config: RouterConfig) -> int:
    """How long the picker may take: as long as it may hold a request, and a little for its own work."""
    return config.hold.longest_seconds + _LATE_SECONDS


def build(config: RouterConfig) -> Json:
    """The filter. Without keys to check, a request goes on when the picker is gone: Envoy balances by itself."""
    return {
        "name": FILTER,
        "typed_config": {
            "@type": _TYPE + "ExtAuthz",
            "failure_mode_allow": not config.auth,
            "status_on_error": {"code": "InternalServerError"},
            "clear_route_cache": config.cache is not None,
            "with_request_body": {"max_request_bytes": config.max_body_bytes, "allow_partial_message": False},
            "allowed_headers": _exactly(
                "content-type",
                "x-request-id",
                "authorization",
                "x-api-key",
                "cache-control",
                EXPLAIN_HEADER,
                config.session_header,
            ),
            "http_service": {
                "server_uri": {"uri": "http://picker", "cluster": "picker", "timeout": f"{answer_seconds(config)}s"},
                "path_prefix": PICK_PREFIX,
                "retry_policy": _again(config),
                "authorization_response": _taken_over(config),
            },
        },
    }


def not_asked() -> Json:
    """For routes that Envoy answers by itself."""
    return {FILTER: {"@type": _TYPE + "ExtAuthzPerRoute", "disabled": True}}


def metadata(header: str) -> str:
    """Envoy's command operator for what the picker said in `header`."""
    return f"%DYNAMIC_METADATA({FILTER}:{header})%"


def _again(config: RouterConfig) -> Json:
    return {
        "retry_on": "connect-failure,reset",
        "num_retries": TRIES,
        # Envoy takes the longest wait for the time that each try may take, too.
        "retry_back_off": {"base_interval": _FIRST_WAIT, "max_interval": f"{answer_seconds(config)}s"},
    }


def _taken_over(config: RouterConfig) -> Json:
    said = (DESTINATION_HEADER, REPLICA_HEADER, TENANT_HEADER, REASON_HEADER, USAGE_HEADER)
    to_cache = {"allowed_upstream_headers": _exactly(DESTINATION_HEADER, WAY_HEADER)} if config.cache else {}
    return {
        **to_cache,
        "dynamic_metadata_from_headers": _exactly(*said),
        "allowed_client_headers": _exactly(
            "retry-after", "content-type", "x-manta-cache", "age", "cache-control", EXPLAIN_HEADER
        ),
        "allowed_client_headers_on_success": _exactly(REPLICA_HEADER, EXPLAIN_HEADER),
    }


def _exactly(*names: str) -> Json:
    return {"patterns": [{"exact": name} for name in names]}
