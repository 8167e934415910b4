"""Builders of the router's Service and Deployment: Envoy and the endpoint picker in one pod. Pure.

In mode inference-pool a gateway moves the bytes, and the pods hold the picker alone.
"""

from typing import Any

from manta_operator.api import names
from manta_operator.api.models import LLMDeployment
from manta_operator.builders.metadata import metadata, router_workload, selector
from manta_operator.builders.router_config import router_tenants
from manta_operator.builders.router_pod import router_pod

Object = dict[str, Any]


def router_service(deployment: LLMDeployment) -> Object:
    """Return the load-balancing Service clients talk to; it has the name of the LLMDeployment."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(deployment, deployment.name, names.COMPONENT_ROUTER),
        "spec": {
            "ports": [{"name": "http", "port": deployment.spec.router.port, "targetPort": "http"}],
            "selector": selector(deployment, names.COMPONENT_ROUTER),
            "type": "ClusterIP",
        },
    }


def router_deployment(deployment: LLMDeployment, config: Object) -> Object:
    """Return the router's Deployment. A changed router.yaml restarts its pods one by one, never below the asked number.

    Args:
        deployment: What is asked for.
        config: The ConfigMap of `router_config`.
    """
    labels = selector(deployment, names.COMPONENT_ROUTER)
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata(deployment, router_workload(deployment), names.COMPONENT_ROUTER),
        "spec": {
            "replicas": deployment.spec.router.replicas,
            "selector": {"matchLabels": labels},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
            "template": {
                "metadata": {"labels": names.common_labels(deployment.name, names.COMPONENT_ROUTER)},
                "spec": router_pod(deployment, [config, router_tenants(deployment)]),
            },
        },
    }
