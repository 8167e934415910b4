"""Builders of what protects a deployment from its surroundings: PodDisruptionBudgets and NetworkPolicies. Pure."""

from collections.abc import Sequence
from typing import Any

from manta_operator.api import names
from manta_operator.api.models import LLMDeployment
from manta_operator.builders.metadata import metadata, selector

Object = dict[str, Any]

OPERATOR_PODS = {names.LABEL_PART_OF: "manta", names.LABEL_COMPONENT: "operator"}
"""Labels of the operator's own pods, as the chart sets them under any name of the release."""

GATEWAY_LABELS = ("gateway.networking.k8s.io/gateway-name", "gateway.envoyproxy.io/owning-gateway-name")
"""Where a gateway's pods name their Gateway: as the Gateway API asks for, and as Envoy Gateway does."""
ENVOY_GATEWAY_NAMESPACE = "envoy-gateway-system"
"""Where Envoy Gateway runs the pods of all Gateways by default; others run them in the namespace of the Gateway."""


def disruption_budget(deployment: LLMDeployment, component: str, healthy: int | None = None) -> Object:
    """Return the budget: one pod of the component at a time may be evicted.

    A group that lost one pod has all its pods unready until it serves again, so the next replica is safe until then.
    Pods that do not serve anyway may always be evicted: a broken engine must not block the drain of its node.

    Args:
        deployment: What is asked for.
        component: Whose pods.
        healthy: How many of them must be healthy at any time; None: all that should be there but one.
    """
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": metadata(deployment, f"{deployment.name}-{component}", component),
        "spec": {
            **({"maxUnavailable": 1} if healthy is None else {"minAvailable": healthy}),
            "selector": {"matchLabels": selector(deployment, component)},
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
        },
    }


def engine_policy(
    deployment: LLMDeployment, operator: str = names.OPERATOR_NAMESPACE, *, both_modes: bool = False
) -> Object:
    """Return the engines' NetworkPolicy: who asks for clients reaches the API, ranks reach each other, no others.

    vLLM guards some of its endpoints with no key at all (/invocations does inference), so the network has to. Its
    /metrics share the port with them: Prometheus is let in where spec.monitoring asks for it, by its own labels.
    Whoever may make pods may label them as they like, so every peer is of a namespace that is known. The operator asks
    how far a fetch is, what of the adapters is loaded and what the engine has chosen. What goes out is not limited: a
    fetch has to reach the hub or the bucket.

    Args:
        deployment: What is asked for.
        operator: The operator's namespace.
        both_modes: Admit the gateways of mode inference-pool in mode envoy, too: the mode is changing.
    """
    asking = [_pods(deployment, names.COMPONENT_ROUTER), *_gateways(deployment, both_modes)]
    api = {"from": asking, "ports": [_tcp(names.ENGINE_PORT)]}
    ranks = {"from": [_pods(deployment, names.COMPONENT_ENGINE)]}
    asks = {"from": [_operators(operator)], "ports": [_tcp(names.CONTROL_PORT)]}
    scraped = _scraping(deployment, names.ENGINE_PORT, names.CONTROL_PORT)
    return _policy(deployment, names.COMPONENT_ENGINE, [api, ranks, asks, *scraped])


def router_policy(
    deployment: LLMDeployment, operator: str = names.OPERATOR_NAMESPACE, *, both_modes: bool = False
) -> Object:
    """Return the router's NetworkPolicy: anyone reaches its HTTP port, the operator and the other routers its picker.

    The operator asks the picker how many requests each replica has, before it takes one away; routers tell each other
    what tenants have used. In mode inference-pool there is no HTTP port, and gateways reach the picker's own.

    Args:
        deployment: What is asked for.
        operator: The operator's namespace.
        both_modes: Admit the clients of either mode: it is changing.
    """
    gateways = _gateways(deployment, both_modes)
    clients: list[Object] = []
    if both_modes or not gateways:
        clients.append({"ports": [_tcp(names.ROUTER_PORT)]})
    if gateways:
        clients.append({"from": gateways, "ports": [_tcp(names.EXT_PROC_PORT), _tcp(names.EXT_PROC_PLAIN_PORT)]})
    knowing = [_operators(operator), _pods(deployment, names.COMPONENT_ROUTER)]
    picker = {"from": knowing, "ports": [_tcp(names.PICKER_PORT)]}
    return _policy(deployment, names.COMPONENT_ROUTER, [*clients, picker, *_scraping(deployment, names.PICKER_PORT)])


def operator_of(policy: Object | None) -> str:
    """Return the operator's namespace as a router's NetworkPolicy has it; the default if it has none."""
    rules = (policy or {}).get("spec", {}).get("ingress") or []
    for peer in (peer for rule in rules for peer in rule.get("from") or []):
        if peer.get("podSelector") == {"matchLabels": OPERATOR_PODS}:
            for expression in (peer.get("namespaceSelector") or {}).get("matchExpressions") or []:
                return str(expression["values"][0])
    return names.OPERATOR_NAMESPACE


def _gateways(deployment: LLMDeployment, both_modes: bool) -> list[Object]:
    """Return the pods of the gateways that move the bytes in mode inference-pool, in the namespaces of the Gateways."""
    if deployment.spec.router.mode != "inference-pool" and not both_modes:
        return []
    parents = deployment.spec.gateway.parent_refs
    named = sorted({parent.name for parent in parents})
    places = {parent.namespace or deployment.namespace for parent in parents} or {deployment.namespace}
    where = sorted(places | {ENVOY_GATEWAY_NAMESPACE})
    which = {"operator": "In", "values": named} if named else {"operator": "Exists"}
    return [_those_in(where, {"matchExpressions": [{"key": label} | which]}) for label in GATEWAY_LABELS]


def _scraping(deployment: LLMDeployment, *ports: int) -> list[Object]:
    """Return the rule that lets the Prometheus operator's Prometheus in, from the namespace it is in."""
    monitoring = deployment.spec.monitoring
    if not monitoring.pod_monitor:
        return []
    theirs = {"key": names.LABEL_NAME, "operator": "In", "values": ["prometheus", "prometheus-agent"]}
    peer = _those_in([monitoring.namespace], {"matchExpressions": [theirs]})
    return [{"from": [peer], "ports": [_tcp(port) for port in ports]}]


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


def _operators(namespace: str) -> Object:
    return _those_in([namespace], {"matchLabels": OPERATOR_PODS})


def _those_in(namespaces: Sequence[str], pods: Object) -> Object:
    """Return the peers with such labels in namespaces of these names, which the API server writes down as a label."""
    named = {"key": "kubernetes.io/metadata.name", "operator": "In", "values": list(namespaces)}
    return {"namespaceSelector": {"matchExpressions": [named]}, "podSelector": pods}


def _tcp(port: int) -> Object:
    return {"port": port, "protocol": "TCP"}
