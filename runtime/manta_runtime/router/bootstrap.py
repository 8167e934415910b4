"""Envoy's whole configuration for one router pod, from router.yaml and the pod's address.

Pure; `envoy.py` runs Envoy with it.
"""

from pathlib import Path
from typing import Any

from manta_runtime.router import clusters, listener
from manta_runtime.router.config import RouterConfig
from manta_runtime.router.endpoints import CLUSTER

Json = dict[str, Any]

HEAP_BYTES = 4 << 30
"""What Envoy's heap may take where nobody says how much memory there is."""

STATS = (f"http.{listener.STAT_PREFIX}.downstream_rq_active", f"cluster.{CLUSTER}.upstream_rq_total")
VERSION_STAT = f"cluster.{CLUSTER}.version_text"
"""What the launcher reads; nobody else reaches the admin socket. All that Envoy can count costs each request 6 µs."""

_FREE_STATS = ("overload.", f"cluster.{CLUSTER}.membership_")  # for who debugs Envoy: they cost requests nothing

_MAX_CONNECTIONS = 50_000  # of clients; beyond it new ones are closed at once
_TYPE = "type.googleapis.com/envoy.extensions.resource_monitors."
# What happens at which part of the heap.
_GIVE_BACK, _REFUSE, _END_SENDERS = 0.75, 0.85, 0.95


def build(config: RouterConfig, pod_ip: str, admin: Path, run_dir: Path, heap_bytes: int = HEAP_BYTES) -> Json:
    """The bootstrap as a plain dict. On `pod_ip` is what clients reach; what is the pod's own are Unix sockets.

    `admin`: the interface for the launcher alone, which has no password. `run_dir`: where the picker writes the
    endpoints and listens; ConfigError if its path is too long for that. `heap_bytes`: what Envoy's heap may take; near
    it new requests are refused.
    """
    return {
        "node": {"id": pod_ip, "cluster": config.deployment},
        "admin": {"address": {"pipe": {"path": str(admin), "mode": 0o600}}},
        "overload_manager": _overload(heap_bytes),
        "stats_config": {"stats_matcher": {"inclusion_list": {"patterns": _counted()}}},
        "static_resources": {
            "listeners": [listener.build(config, clusters.address(pod_ip, config.listen_port))],
            "clusters": clusters.build(config, run_dir),
        },
    }


def _counted() -> list[Json]:
    return [*({"exact": name} for name in (*STATS, VERSION_STAT)), *({"prefix": prefix} for prefix in _FREE_STATS)]


def _overload(heap_bytes: int) -> Json:
    heap = "envoy.resource_monitors.fixed_heap"
    limits = {"@type": _TYPE + "fixed_heap.v3.FixedHeapConfig", "max_heap_size_bytes": str(heap_bytes)}
    return {
        "refresh_interval": "0.25s",
        "resource_monitors": [_connection_limit(), {"name": heap, "typed_config": limits}],
        "actions": [
            _when("overload_actions.shrink_heap", heap, _GIVE_BACK),
            _when("overload_actions.stop_accepting_requests", heap, _REFUSE),
        ],
        # Bodies that were let in may still grow: clients that send get a 500, those that wait or read notice nothing.
        "loadshed_points": [_when("load_shed_points.http1_server_abort_dispatch", heap, _END_SENDERS)],
    }


def _when(what: str, monitor: str, part: float) -> Json:
    return {"name": f"envoy.{what}", "triggers": [{"name": monitor, "threshold": {"value": part}}]}


def _connection_limit() -> Json:
    return {
        "name": "envoy.resource_monitors.global_downstream_max_connections",
        "typed_config": {
            "@type": _TYPE + "downstream_connections.v3.DownstreamConnectionsConfig",
            "max_active_downstream_connections": _MAX_CONNECTIONS,
        },
    }
