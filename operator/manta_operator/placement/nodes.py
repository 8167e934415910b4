"""Which nodes nothing is to be expected of: gone, or not ready for too long. Pure."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

Body = Mapping[str, Any]

LOST_SECONDS = 60.0
"""A node that is not ready for this long is lost: a reboot takes longer, a hiccup of its kubelet does not."""
FAR_TOO_MANY = 0.55
"""Where this share of the nodes is not ready, the fault is not the nodes': nobody moves (kube-controller-manager's
own threshold)."""


def is_ready(node: Body) -> bool:
    """Whether the node's kubelet says so."""
    return _ready_condition(node).get("status") == "True"


def lost_nodes(nodes: Iterable[Body], used: Iterable[str], now: float) -> frozenset[str]:
    """Return the names of the nodes that are lost.

    Args:
        nodes: All Nodes of the cluster.
        used: Names of nodes that pods are bound to: one that no Node has any more is gone.
        now: Epoch seconds.
    """
    bodies = list(nodes)
    if not bodies:
        return frozenset()
    known = {str(node["metadata"]["name"]) for node in bodies}
    unready = [node for node in bodies if not is_ready(node)]
    late = {node["metadata"]["name"] for node in unready if now >= _since(node) + LOST_SECONDS}
    gone = frozenset(used) - known
    return gone if len(unready) >= FAR_TOO_MANY * len(bodies) else gone | late


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
