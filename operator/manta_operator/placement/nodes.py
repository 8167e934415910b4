"""Nodes: what is kept of one, and which nothing is to be expected of: gone, or not ready for too long. Pure."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from sys import intern
from typing import Any

from manta_operator.placement.predicates import belongs

Body = Mapping[str, Any]

LOST_SECONDS = 300.0
"""A node that is not ready for this long is lost: as long as Kubernetes tolerates it before it evicts pods."""
FAR_TOO_MANY = 0.55
"""Where this share of the nodes is not ready, the fault is not the nodes': nobody moves (kube-controller-manager's
own threshold, but of the nodes that could run the pods: others being well says nothing)."""
_TAINT = ("key", "value", "effect")
_CONDITION = ("type", "status", "lastTransitionTime")


def slim_node(body: Body) -> Body:
    """Return the part of a Node that this package reads: a tenth of it, and its strings exist once."""
    metadata, spec, status = body["metadata"], body.get("spec") or {}, body.get("status") or {}
    ready = {name: text for name, text in _ready_condition(body).items() if name in _CONDITION}
    return {
        "metadata": {
            "name": metadata["name"],
            "labels": _shared(metadata.get("labels") or {}),
            "creationTimestamp": metadata.get("creationTimestamp"),
        },
        "spec": {
            "taints": [{name: each[name] for name in _TAINT if name in each} for each in spec.get("taints") or ()],
            "unschedulable": bool(spec.get("unschedulable")),
        },
        "status": {
            "allocatable": _shared(status.get("allocatable") or {}),
            "conditions": [ready] if ready else [],
        },
    }


def _shared(texts: Mapping[str, Any]) -> dict[str, str]:
    return dict(zip(map(intern, texts), map(intern, map(str, texts.values())), strict=True))


def is_ready(node: Body) -> bool:
    """Whether the node's kubelet says so."""
    return _ready_condition(node).get("status") == "True"


def lost_nodes(nodes: Iterable[Body], used: Iterable[str], now: float, template: Body | None = None) -> frozenset[str]:
    """Return the names of the nodes that are lost, of those that matter: pods of ours run there, or could.

    Args:
        nodes: All Nodes of the cluster.
        used: Names of nodes that pods are bound to: one that no Node has any more is gone.
        now: Epoch seconds.
        template: Pod template of those pods; None: they could run on every node.
    """
    bodies, ours = list(nodes), frozenset(used)
    if not bodies:
        return frozenset()
    gone = ours - {str(node["metadata"]["name"]) for node in bodies}
    unready = [node for node in bodies if not is_ready(node)]
    if not any(now >= _since(node) + LOST_SECONDS for node in unready):
        return gone  # in most looks; the rest takes longer where nodes are many
    matter = [
        node for node in bodies if template is None or node["metadata"]["name"] in ours or belongs(template, node)
    ]
    unready = [node for node in matter if not is_ready(node)]
    late = {str(node["metadata"]["name"]) for node in unready if now >= _since(node) + LOST_SECONDS}
    return gone if len(unready) >= FAR_TOO_MANY * len(matter) else gone | late


def lost_at(nodes: Iterable[Body], now: float) -> float | None:
    """Return when the next node that is not ready counts as lost, in epoch seconds; None if none will."""
    moments = [_since(node) + LOST_SECONDS for node in nodes if not is_ready(node)]
    return min((moment for moment in moments if moment > now), default=None)


def _since(node: Body) -> float:
    """Since when the node is not ready; one that never was is judged by its age."""
    text = _ready_condition(node).get("lastTransitionTime") or node["metadata"].get("creationTimestamp")
    return datetime.fromisoformat(text).timestamp() if text else 0.0


def _ready_condition(node: Body) -> Body:
    conditions: Iterable[Body] = (node.get("status") or {}).get("conditions") or ()
    return next((entry for entry in conditions if entry["type"] == "Ready"), {})
