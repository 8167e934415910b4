"""How many more replicas the cluster has place for: what a surge needs against what is free. Pure.

    hold     pods of the whole cluster -> what they hold, by node       a page at a time: they are too many to keep
    spaces   nodes, and what is held on them -> what every node has left     once for many questions
    places   = min over resources (left // request), 0 on a node that does not suit
    groups   = sum of places // pods of a group

It answers for now: the scheduler decides, and may be asked by somebody else first.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from manta_operator.placement.nodes import is_ready
from manta_operator.placement.predicates import unsuitable
from manta_operator.placement.quantities import Amounts, parse, render
from manta_operator.placement.requests import ZERO, holds, requests

Body = Mapping[str, Any]
Used = dict[str, dict[str, Fraction]]
"""What pods hold, by node and resource."""


@dataclass(frozen=True)
class Room:
    """Free places: whole groups that fit beside everything that runs, and the sentence that says how that was seen."""

    groups: int
    sentence: str
    suitable: int = 1
    """Whole groups that the nodes which suit could hold if they were empty: 0 where freeing places helps nobody."""


@dataclass(frozen=True)
class NodeSpace:
    """One node: what it is, what it has for pods, and what they have left of it."""

    node: Body
    allocatable: Amounts
    left: Amounts


def hold(used: Used, pods: Iterable[Body]) -> None:
    """Add to what is used on each node what these pods hold.

    Args:
        used: By node and resource; changed.
        pods: Of each, spec (nodeName, containers' resources, overhead) and status.phase are read.
    """
    for pod in pods:
        if holds(pod):
            on_node = used.setdefault(pod["spec"]["nodeName"], {})
            for name, amount in requests(pod).items():
                on_node[name] = on_node.get(name, ZERO) + amount


def survey(nodes: Iterable[Body], pods: Iterable[Body]) -> tuple[NodeSpace, ...]:
    """Return what every node has left, where the pods of the whole cluster are at hand."""
    used: Used = {}
    hold(used, pods)
    return spaces(nodes, used)


def spaces(nodes: Iterable[Body], used: Used) -> tuple[NodeSpace, ...]:
    """Return what every node has left.

    Args:
        nodes: All Nodes of the cluster, whole or as `nodes.slim_node` leaves them.
        used: What `hold` made of all pods of the cluster.
    """
    return tuple(_space(node, used.get(node["metadata"]["name"], {})) for node in nodes)


def room(template: Body, size: int, spaces: Iterable[NodeSpace]) -> Room:
    """Return how many more groups fit.

    Args:
        template: The pod template of the group's pods.
        size: Pods of a group.
        spaces: What `survey` found.
    """
    asked = {name: amount for name, amount in requests(template).items() if amount > 0}
    judged = [(space, _obstacle(template, asked, space)) for space in spaces]
    suitable = [space for space, obstacle in judged if obstacle is None or obstacle.startswith("Insufficient")]
    places = sum(_places(asked, space.left) for space, obstacle in judged if obstacle is None)
    groups = places // size
    sentence = _sentence(asked, size, groups, suitable, Counter(obstacle for _, obstacle in judged))
    return Room(groups, sentence, sum(_places(asked, space.allocatable) for space in suitable) // size)


def _space(node: Body, used: Amounts) -> NodeSpace:
    given = (node.get("status") or {}).get("allocatable") or {}
    allocatable = {name: parse(amount) for name, amount in given.items()}
    left = {name: amount - used.get(name, ZERO) for name, amount in allocatable.items()}
    return NodeSpace(node, allocatable, left)


def _obstacle(template: Body, asked: Amounts, space: NodeSpace) -> str | None:
    """Return in the scheduler's words why not even one pod of the template fits; None if one does."""
    if not is_ready(space.node):
        return "node(s) were not ready"
    if found := unsuitable(template, space.node):
        return found[0].reason
    short = [name for name, amount in sorted(asked.items()) if amount > space.left.get(name, ZERO)]
    return f"Insufficient {_scarcest(short)}" if short else None


def _places(asked: Amounts, given: Amounts) -> int:
    return min(int(given.get(name, ZERO) // amount) for name, amount in asked.items())


def _sentence(asked: Amounts, size: int, groups: int, suitable: list[NodeSpace], found: Counter[str | None]) -> str:
    name = _scarcest(asked)
    free = sum((max(space.left.get(name, ZERO), ZERO) for space in suitable), ZERO)
    has = sum((space.allocatable.get(name, ZERO) for space in suitable), ZERO)
    pods = "a pod" if size == 1 else f"{size} pods"
    needs = f"a replica needs {pods} with {render(name, asked[name])} {name}{'' if size == 1 else ' each'}"
    seen = f"{render(name, free)} of {render(name, has)} free on {len(suitable)} of {sum(found.values())} nodes"
    if groups:
        return f"{needs}; {seen}: place for {groups} more"
    reasons = ", ".join(f"{count} {text}" for text, count in sorted(found.items(), key=str) if text)
    return f"{needs}; {seen}: no place for one{f' ({reasons})' if reasons else ''}"


def _scarcest(resources: Iterable[str]) -> str:
    """Return the resource that decides: a device where one is asked for, then memory, then CPU."""
    return min(resources, key=lambda name: ("/" not in name, name != "memory", name != "cpu", name))
