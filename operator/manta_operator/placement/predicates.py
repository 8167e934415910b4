"""Whether a pod may run on a node: kube-scheduler's filters, in its order and its words. Pure.

    unschedulable  ->  nodeSelector and required node affinity  ->  taints  ->  allocatable minus requests

What is left out is what Manta's own templates do not use: affinity between pods, topology spread, volumes bound to
nodes, ports of the host.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from manta_operator.placement.quantities import Amounts, parse, render
from manta_operator.placement.requests import ZERO, requests
from manta_operator.placement.selectors import matches_expression

Body = Mapping[str, Any]
_HARD = ("NoSchedule", "NoExecute")
_CONDITIONS = "node.kubernetes.io"
"""Prefix of the taints that Kubernetes itself sets for what a node is in at the moment."""


@dataclass(frozen=True)
class Misfit:
    """Why a node does not do: the scheduler's short reason, and what a person should know beyond it."""

    reason: str
    detail: str


def misfits(pod: Body, node: Body, allocatable: Amounts, used: Amounts) -> list[Misfit]:
    """Everything that keeps the pod off the node; empty: it fits. Placement is judged before resources."""
    return unsuitable(pod, node) or _resources(pod, allocatable, used)


def unsuitable(pod: Body, node: Body) -> list[Misfit]:
    """Everything but resources that keeps the pod, or every pod of a template, off the node."""
    return [*_unschedulable(node, pod), *_selector(pod, node), *_taints(pod, node)]


def belongs(pod: Body, node: Body) -> bool:
    """Whether the node is one of those that the pods are meant for, were it only well, in use, and empty."""
    if _selector(pod, node) or any(taint["key"].split("/")[0] != _CONDITIONS for taint in _refused(pod, node)):
        return False
    given = (node.get("status") or {}).get("allocatable") or {}
    devices = {name: amount for name, amount in requests(pod).items() if "/" in name}
    return all(parse(given.get(name, 0)) >= amount for name, amount in devices.items())


def _resources(pod: Body, allocatable: Amounts, used: Amounts) -> list[Misfit]:
    found = []
    for name, amount in sorted(requests(pod).items()):
        has = allocatable.get(name, ZERO)
        left = has - used.get(name, ZERO)
        if amount > left and amount > 0:
            reason = "Too many pods" if name == "pods" else f"Insufficient {name}"
            found.append(Misfit(reason, _shortage(name, amount, has, left)))
    return found


def _shortage(name: str, amount: Fraction, has: Fraction, left: Fraction) -> str:
    if not has:
        return f"{name}: {render(name, amount)} asked, the node has none; use one that has some, or ask for none"
    numbers = f"{name}: {render(name, amount)} asked, {render(name, max(left, ZERO))} of {render(name, has)} left"
    if amount > has:
        return f"{numbers}; more than the node can give: ask for less, or use a larger one"
    return f"{numbers}; ask for less, or remove other pods"


def _unschedulable(node: Body, pod: Body) -> list[Misfit]:
    if not (node.get("spec") or {}).get("unschedulable"):
        return []
    taint = {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}
    if any(_tolerates(toleration, taint) for toleration in pod["spec"].get("tolerations") or []):
        return []
    name = node["metadata"]["name"]
    return [Misfit("node(s) were unschedulable", f"the node is cordoned: kubectl uncordon {name}")]


def _selector(pod: Body, node: Body) -> list[Misfit]:
    labels, wanted = node["metadata"].get("labels") or {}, pod["spec"].get("nodeSelector") or {}
    missing = [f"{name}={value}" for name, value in sorted(wanted.items()) if labels.get(name) != value]
    affinity = (pod["spec"].get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
    if required is not None and not any(_term(term, node) for term in required.get("nodeSelectorTerms") or []):
        missing.append(f"nodeAffinity {required.get('nodeSelectorTerms')}")
    if not missing:
        return []
    remedy = f"drop the selector, or label the node: kubectl label node {node['metadata']['name']} KEY=VALUE"
    detail = f"the node lacks {', '.join(missing)}; {remedy}"
    return [Misfit("node(s) didn't match Pod's node affinity/selector", detail)]


def _term(term: Mapping[str, Any], node: Body) -> bool:
    labels, fields = term.get("matchExpressions") or [], term.get("matchFields") or []
    names = {"metadata.name": str(node["metadata"]["name"])}
    some = bool(labels or fields)  # an empty term selects nothing
    on_labels = all(matches_expression(item, node["metadata"].get("labels") or {}) for item in labels)
    return some and on_labels and all(matches_expression(item, names) for item in fields)


def _taints(pod: Body, node: Body) -> list[Misfit]:
    for taint in _refused(pod, node)[:1]:
        text = f"{taint['key']}: {taint.get('value', '')}"
        detail = f"add a toleration for {taint['key']} ({taint['effect']}) to the pod, or remove the taint"
        return [Misfit(f"node(s) had untolerated taint {{{text}}}", detail)]
    return []


def _refused(pod: Body, node: Body) -> list[Mapping[str, Any]]:
    """Return the taints that keep the pod away."""
    tolerations = pod["spec"].get("tolerations") or []
    hard = [taint for taint in (node.get("spec") or {}).get("taints") or [] if taint["effect"] in _HARD]
    return [taint for taint in hard if not any(_tolerates(toleration, taint) for toleration in tolerations)]


def _tolerates(toleration: Mapping[str, Any], taint: Mapping[str, Any]) -> bool:
    if toleration.get("effect") and toleration["effect"] != taint["effect"]:
        return False
    if toleration.get("key") and toleration["key"] != taint["key"]:
        return False
    if toleration.get("operator", "Equal") == "Exists":
        return True
    return bool(toleration.get("key")) and toleration.get("value", "") == taint.get("value", "")
