"""Envoy's whole configuration for one router pod, from router.yaml and the pod's address.

Pure; `envoy.py` runs Envoy with it.
"""

from pathlib import Path
from typing import Any

from manta_runtime.router import clusters, listener
from manta_runtime.router.config import RouterConfig

Json = dict[str, Any]

_MAX_CONNECTIONS = 50_000  # of clients; beyond it new ones are closed at once


def build(config: RouterConfig, pod_ip: str, admin: Path, run_dir: Path) -> Json:
    """The bootstrap as a plain dict; every socket is on `pod_ip` but the admin interface, which has no password.

    That one is the Unix socket `admin`, for the launcher alone. `run_dir`: where the picker writes the endpoints.
    """
    return {
        "node": {"id": pod_ip, "cluster": config.deployment},
        "admin": {"address": {"pipe": {"path": str(admin), "mode": 0o600}}},
        "overload_manager": {"resource_monitors": [_connection_limit()]},
        "static_resources": {
            "listeners": [listener.build(config, clusters.address(pod_ip, config.listen_port))],
            "clusters": clusters.build(config, pod_ip, run_dir),
        },
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
