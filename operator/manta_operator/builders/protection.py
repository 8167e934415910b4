"""Builders of what protects a deployment from its surroundings: PodDisruptionBudgets and NetworkPolicies. Pure."""

from typing import Any

from manta_operator.api import names
from manta_operator.api.models import LLMDeployment
from manta_operator.builders.metadata import metadata, selector

Object = dict[str, Any]


def disruption_budget(deployment: LLMDeployment, component: str) -> Object:
    """Return the budget: one pod of the component at a time may be evicted.

    A group that lost one pod has all its pods unready until it serves again, so the next replica is safe until then.
    Pods that do not serve anyway may always be evicted: a broken engine must not block the drain of its node.
    """
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": metadata(deployment, f"{deployment.name}-{component}", component),
        "spec": {
            "maxUnavailable": 1,
            "selector": {"matchLabels": selector(deployment, component)},
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
        },
    }


def engine_policy(deployment: LLMDeployment) -> Object:
    """Return the engines' NetworkPolicy: the router reaches the API, the ranks reach each other, nobody else does.

    vLLM guards some of its endpoints with no key at all (/invocations does inference), so the network has to.
    That shuts out Prometheus too (the engines' /metrics), until monitoring comes with a rule of its own.
    """
    return _policy(
        deployment,
        names.COMPONENT_ENGINE,
        [
            {"from": [_pods(deployment, names.COMPONENT_ROUTER)], "ports": [_tcp(names.ENGINE_PORT)]},
            {"from": [_pods(deployment, names.COMPONENT_ENGINE)]},
        ],
    )


def router_policy(deployment: LLMDeployment) -> Object:
    """Return the router's NetworkPolicy: anyone reaches its HTTP port, nobody its picker.

    The picker's /metrics are shut off with it, as the engines' are.
    """
    return _policy(deployment, names.COMPONENT_ROUTER, [{"ports": [_tcp(names.ROUTER_PORT)]}])


def _policy(deployment: LLMDeployment, component: str, ingress: list[Object]) -> Object:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": metadata(deployment, f"{deployment.name}-{component}", component),
        "spec": {
            "ingress": ingress,
            "podSelector": {"matchLabels": selector(deployment, component)},
            "policyTypes": ["Ingress"],
        },
    }


def _pods(deployment: LLMDeployment, component: str) -> Object:
    return {"podSelector": {"matchLabels": selector(deployment, component)}}


def _tcp(port: int) -> Object:
    return {"port": port, "protocol": "TCP"}
