"""Builders of what other projects do for a deployment: the PodMonitor and the HTTPRoute. Pure.

Both kinds are optional: where the cluster does not serve one, everything else goes on (`planning.integrations`).
The HTTPRoute is made beside the routers that it leads to (`routing.py`).
"""

import re
from typing import Any

from manta_operator.api import names
from manta_operator.api.models import LLMDeployment, ParentRef
from manta_operator.builders.metadata import metadata
from manta_operator.planning.integrations import HTTP_ROUTE, POD_MONITOR

Object = dict[str, Any]


def pod_monitors(deployment: LLMDeployment) -> list[Object]:
    """Return the PodMonitor if the spec asks for one."""
    return [pod_monitor(deployment)] if deployment.spec.monitoring.pod_monitor else []


def http_routes(deployment: LLMDeployment) -> list[Object]:
    """Return the HTTPRoute to the Service if the spec names a Gateway."""
    return [http_route(deployment)] if deployment.spec.gateway.parent_refs else []


def pod_monitor(deployment: LLMDeployment) -> Object:
    """Return the PodMonitor: the engine's metrics of every group's head, every launcher's, every picker's."""
    return {
        "apiVersion": POD_MONITOR.api_version,
        "kind": POD_MONITOR.kind,
        "metadata": metadata(deployment, deployment.name, names.COMPONENT_ENGINE),
        "spec": {
            "selector": {"matchLabels": {names.LABEL_DEPLOYMENT: deployment.name}},
            "podTargetLabels": [names.LABEL_DEPLOYMENT, names.LABEL_COMPONENT, names.LABEL_REPLICA],
            "podMetricsEndpoints": [
                {"port": "http", "path": "/metrics", "relabelings": [_heads_alone()]},
                {"port": "control", "path": "/metrics"},
                {"port": "picker", "path": "/metrics"},
            ],
        },
    }


def _heads_alone() -> Object:
    """Return the rule that keeps the engines' heads: other ranks serve nothing, and routers have a port `http` too."""
    labels = (names.LABEL_COMPONENT, names.LABEL_POD_INDEX)
    sources = ["__meta_kubernetes_pod_label_" + re.sub("[^a-zA-Z0-9_]", "_", label) for label in labels]
    return {"action": "keep", "sourceLabels": sources, "regex": f"{names.COMPONENT_ENGINE};0"}


def http_route(deployment: LLMDeployment) -> Object:
    """Return the HTTPRoute: the API, at the host names, goes to the Service.

    Without a limit to the request's time: a long answer takes minutes, and gateways cut after seconds by default.
    """
    gateway = deployment.spec.gateway
    backend = {"name": deployment.name, "port": deployment.spec.router.port}
    rule = {
        "matches": [{"path": {"type": "PathPrefix", "value": "/v1"}}],
        "backendRefs": [backend],
        "timeouts": {"request": "0s"},
    }
    spec: Object = {"parentRefs": [_parent(parent) for parent in gateway.parent_refs], "rules": [rule]}
    if gateway.hostnames:
        spec["hostnames"] = list(gateway.hostnames)
    return {
        "apiVersion": HTTP_ROUTE.api_version,
        "kind": HTTP_ROUTE.kind,
        "metadata": metadata(deployment, deployment.name, names.COMPONENT_ROUTER),
        "spec": spec,
    }


def _parent(parent: ParentRef) -> Object:
    return parent.model_dump(by_alias=True, exclude_none=True)
