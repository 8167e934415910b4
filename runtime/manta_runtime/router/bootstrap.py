"""Envoy's whole configuration for one router pod, from router.yaml and the pod's address.

Pure; `envoy.py` runs Envoy with it.
"""

from pathlib import Path
from typing import Any

from manta_runtime.router import listener
from manta_runtime.router.config import RouterConfig

Json = dict[str, Any]

# Below uvicorn's keep-alive of 5 s: were the engine the one to close an idle connection, requests would race with it.
_ENGINE_IDLE = "3s"
_UNLIMITED = 1_000_000
_MAX_CONNECTIONS = 50_000  # of clients; beyond it new ones are closed at once


def build(config: RouterConfig, pod_ip: str, admin: Path) -> Json:
    """The bootstrap as a plain dict; every socket is on `pod_ip` but the admin interface, which has no password.

    That one is the Unix socket `admin`, for the launcher alone.
    """
    return {
        "node": {"id": pod_ip, "cluster": config.deployment},
        "admin": {"address": {"pipe": {"path": str(admin), "mode": 0o600}}},
        "overload_manager": {"resource_monitors": [_connection_limit()]},
        "static_resources": {
            "listeners": [listener.build(config, _address(pod_ip, config.listen_port))],
            "clusters": [
                _engines(),
                _static("picker", pod_ip, config.picker_port),
                _static("picker-log", pod_ip, config.access_log_port),
            ],
        },
    }


def _engines() -> Json:
    """No endpoints of its own: each request goes where the picker's header says."""
    return {
        "name": "engines",
        "type": "ORIGINAL_DST",
        "lb_policy": "CLUSTER_PROVIDED",
        "connect_timeout": "2s",
        "original_dst_lb_config": {"use_http_header": True, "http_header_name": listener.DESTINATION_HEADER},
        "cleanup_interval": "60s",
        "circuit_breakers": _breakers(),
        "upstream_connection_options": {
            "tcp_keepalive": {"keepalive_time": 30, "keepalive_interval": 10, "keepalive_probes": 3}
        },
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                "common_http_protocol_options": {"idle_timeout": _ENGINE_IDLE},
                "explicit_http_config": {"http_protocol_options": {}},
            }
        },
    }


def _static(name: str, host: str, port: int) -> Json:
    endpoint = {"endpoint": {"address": _address(host, port)}}
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "1s",
        "circuit_breakers": _breakers(),
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]},
    }


def _connection_limit() -> Json:
    package = "type.googleapis.com/envoy.extensions.resource_monitors.downstream_connections.v3"
    return {
        "name": "envoy.resource_monitors.global_downstream_max_connections",
        "typed_config": {
            "@type": f"{package}.DownstreamConnectionsConfig",
            "max_active_downstream_connections": _MAX_CONNECTIONS,
        },
    }


def _breakers() -> Json:
    """Thousands of open streams are normal here; limits belong to the picker, which can say why."""
    names = ("max_connections", "max_pending_requests", "max_requests")
    return {"thresholds": [dict.fromkeys(names, _UNLIMITED)]}


def _address(host: str, port: int) -> Json:
    return {"socket_address": {"address": host, "port_value": port}}
