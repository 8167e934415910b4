"""Where Envoy sends things: engines, the picker (questions, ends of requests, cached answers), traces. Pure.

Part of `bootstrap.py`. The engines come from the file that the picker writes (`endpoints.py`); its answer to a question
names which of them serves the request and which others may be tried. Without it Envoy balances by itself.
"""

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from manta_runtime.router import asking, endpoints, sockets
from manta_runtime.router.config import RouterConfig

Json = dict[str, Any]

BUFFER_BYTES = 256 << 10
"""What one connection may hold for a peer that reads slowly; beyond it Envoy stops reading from the other side."""

# Below uvicorn's keep-alive of 5 s: were the engine the one to close an idle connection, requests would race with it.
_ENGINE_IDLE = "3s"
_UNLIMITED = 1_000_000
_EXTENSIONS = "type.googleapis.com/envoy.extensions."


def build(config: RouterConfig, run_dir: Path) -> list[Json]:
    """All clusters. ConfigError if the path of `run_dir` is too long for sockets in it."""
    clusters = [
        _engines(run_dir),
        _picker("picker", run_dir, sockets.PICK),
        _picker("picker-log", run_dir, sockets.ENDS),
    ]
    if config.cache:
        clusters.append(_picker("cache", run_dir, sockets.CACHE))
    if config.tracing:
        clusters.append(_traces(config.tracing.endpoint))
    return clusters


def address(host: str, port: int) -> Json:
    """A TCP address in Envoy's form."""
    return {"socket_address": {"address": host, "port_value": port}}


def _engines(run_dir: Path) -> Json:
    return {
        "name": endpoints.CLUSTER,
        "type": "EDS",
        "eds_cluster_config": {
            "eds_config": {
                "resource_api_version": "V3",
                "path_config_source": {"path": str(run_dir / endpoints.FILE_NAME)},
            }
        },
        "connect_timeout": "1s",
        # Draining replicas are not healthy: were they most, "panic" would send requests to them.
        # And a replica that became ready is: without a window's wait for others to do so, too.
        "common_lb_config": {"healthy_panic_threshold": {"value": 0}, "update_merge_window": "0s"},
        "load_balancing_policy": {"policies": [_policy("override_host", "OverrideHost", _override())]},
        "circuit_breakers": _breakers(),
        "per_connection_buffer_limit_bytes": BUFFER_BYTES,
        "upstream_connection_options": {
            "tcp_keepalive": {"keepalive_time": 30, "keepalive_interval": 10, "keepalive_probes": 3}
        },
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": _EXTENSIONS + "upstreams.http.v3.HttpProtocolOptions",
                "common_http_protocol_options": {"idle_timeout": _ENGINE_IDLE},
                "explicit_http_config": {"http_protocol_options": {}},
            }
        },
    }


def _override() -> Json:
    return {
        "override_host_sources": [{"metadata": {"key": asking.FILTER, "path": [{"key": asking.DESTINATION_HEADER}]}}],
        "fallback_policy": {"policies": [_policy("least_request", "LeastRequest", {"choice_count": 3})]},
    }


def _policy(name: str, message: str, fields: Json) -> Json:
    return {
        "typed_extension_config": {
            "name": f"envoy.load_balancing_policies.{name}",
            "typed_config": {"@type": f"{_EXTENSIONS}load_balancing_policies.{name}.v3.{message}", **fields},
        }
    }


def _picker(name: str, run_dir: Path, socket: str) -> Json:
    return {"type": "STATIC", **_one_host(name, {"pipe": {"path": sockets.path(run_dir, socket)}})}


def _traces(endpoint: str) -> Json:
    url = urlsplit(endpoint)
    collector = _one_host("traces", address(url.hostname or "", url.port or 80))
    return {"type": "STRICT_DNS", "dns_lookup_family": "ALL", **collector}


def _one_host(name: str, address: Json) -> Json:
    endpoint = {"endpoint": {"address": address}}
    return {
        "name": name,
        "connect_timeout": "1s",
        "circuit_breakers": _breakers(),
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]},
    }


def _breakers() -> Json:
    """Thousands of open streams are normal here; limits belong to the picker, which can say why."""
    names = ("max_connections", "max_pending_requests", "max_requests", "max_retries")
    return {"thresholds": [dict.fromkeys(names, _UNLIMITED)]}
