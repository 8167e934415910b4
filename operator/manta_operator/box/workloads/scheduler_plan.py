"""Whether a pod may run on the box's node, and what to say when it may not: pure.

Messages begin with kube-scheduler's words, so that people and tools recognise them, and go on with numbers and a
remedy.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from manta_operator.box.cluster import Object
from manta_operator.box.workloads.objects import TERMINAL_PHASES, matches_expression, phase, seconds
from manta_operator.box.workloads.quantities import Amounts, parse, render

ZERO = Fraction(0)


@dataclass(frozen=True)
class Misfit:
    """Why the node does not do: the scheduler's short reason, and what a person should know beyond it."""

    reason: str
    detail: str


def requests(pod: Object) -> dict[str, Fraction]:
    """What a pod asks for: the sum of its containers, or the largest init step if that is more (sidecars count on)."""
    spec = pod["spec"]
    total = _sum(_asked(container) for container in spec.get("containers") or [])
    sidecars: dict[str, Fraction] = {}
    peak: dict[str, Fraction] = {}
    for container in spec.get("initContainers") or []:
        if container.get("restartPolicy") == "Always":
            sidecars = _sum([sidecars, _asked(container)])
            peak = _largest(peak, sidecars)
        else:
            peak = _largest(peak, _sum([sidecars, _asked(container)]))
    return {**_largest(_sum([total, sidecars]), peak), "pods": Fraction(1)}


def _asked(container: Object) -> dict[str, Fraction]:
    resources = container.get("resources") or {}
    asked = {**(resources.get("limits") or {}), **(resources.get("requests") or {})}
    return {name: parse(amount) for name, amount in asked.items()}


def _sum(parts: Iterable[Amounts]) -> dict[str, Fraction]:
    total: dict[str, Fraction] = {}
    for part in parts:
        for name, amount in part.items():
            total[name] = total.get(name, ZERO) + amount
    return total


def _largest(left: Amounts, right: Amounts) -> dict[str, Fraction]:
    return {name: max(left.get(name, ZERO), right.get(name, ZERO)) for name in {**left, **right}}


def in_use(pods: Sequence[Object]) -> dict[str, Fraction]:
    """What the bound pods that have not ended hold."""
    return _sum(requests(pod) for pod in pods if pod["spec"].get("nodeName") and phase(pod) not in TERMINAL_PHASES)


def order(pods: Sequence[Object], priorities: Mapping[str, int]) -> list[Object]:
    """Pods still to bind: higher priority first, then first come, first served. priorities: by PriorityClass name."""
    waiting = [pod for pod in pods if _waits(pod)]
    return sorted(waiting, key=lambda pod: (-_priority(pod, priorities), _created(pod), pod["metadata"]["name"]))


def _waits(pod: Object) -> bool:
    ours = pod["spec"].get("schedulerName", "default-scheduler") == "default-scheduler"
    free = not pod["spec"].get("nodeName") and not pod["spec"].get("schedulingGates")
    return ours and free and not pod["metadata"].get("deletionTimestamp") and phase(pod) not in TERMINAL_PHASES


def _created(pod: Object) -> float:
    return seconds(pod["metadata"].get("creationTimestamp"))


def _priority(pod: Object, priorities: Mapping[str, int]) -> int:
    own = pod["spec"].get("priority")
    return int(own) if own is not None else priorities.get(pod["spec"].get("priorityClassName") or "", 0)


def misfits(pod: Object, node: Object, allocatable: Amounts, used: Amounts) -> list[Misfit]:
    """Everything that keeps the pod off the node; empty: it fits. Placement is judged before resources."""
    placement = [*_unschedulable(node, pod), *_selector(pod, node), *_taints(pod, node)]
    return placement or _resources(pod, allocatable, used)


def _resources(pod: Object, allocatable: Amounts, used: Amounts) -> list[Misfit]:
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
        return f"{name}: {render(name, amount)} asked, this machine has none; use one that has some, or ask for none"
    numbers = f"{name}: {render(name, amount)} asked, {render(name, max(left, ZERO))} of {render(name, has)} left"
    if amount > has:
        return f"{numbers}; more than this machine can give: ask for less, or use a larger machine"
    return f"{numbers}; ask for less, or remove other pods"


def _unschedulable(node: Object, pod: Object) -> list[Misfit]:
    if not node["spec"].get("unschedulable"):
        return []
    taint = {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}
    if any(_tolerates(toleration, taint) for toleration in pod["spec"].get("tolerations") or []):
        return []
    return [Misfit("node(s) were unschedulable", "the node is cordoned: kubectl uncordon box")]


def _selector(pod: Object, node: Object) -> list[Misfit]:
    labels, wanted = node["metadata"].get("labels") or {}, pod["spec"].get("nodeSelector") or {}
    missing = [f"{name}={value}" for name, value in sorted(wanted.items()) if labels.get(name) != value]
    affinity = (pod["spec"].get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
    if required is not None and not any(_term(term, node) for term in required.get("nodeSelectorTerms") or []):
        missing.append(f"nodeAffinity {required.get('nodeSelectorTerms')}")
    if not missing:
        return []
    detail = (
        f"the node lacks {', '.join(missing)}; drop the selector, or label the node: kubectl label node box KEY=VALUE"
    )
    return [Misfit("node(s) didn't match Pod's node affinity/selector", detail)]


def _term(term: Mapping[str, Any], node: Object) -> bool:
    labels, fields = term.get("matchExpressions") or [], term.get("matchFields") or []
    names = {"metadata.name": str(node["metadata"]["name"])}
    some = bool(labels or fields)  # an empty term selects nothing
    on_labels = all(matches_expression(item, node["metadata"].get("labels") or {}) for item in labels)
    return some and on_labels and all(matches_expression(item, names) for item in fields)


def _taints(pod: Object, node: Object) -> list[Misfit]:
    tolerations = pod["spec"].get("tolerations") or []
    for taint in node["spec"].get("taints") or []:
        hard = taint["effect"] in {"NoSchedule", "NoExecute"}
        if hard and not any(_tolerates(toleration, taint) for toleration in tolerations):
            text = f"{taint['key']}: {taint.get('value', '')}"
            detail = f"add a toleration for {taint['key']} ({taint['effect']}) to the pod, or remove the taint"
            return [Misfit(f"node(s) had untolerated taint {{{text}}}", detail)]
    return []


def _tolerates(toleration: Mapping[str, Any], taint: Mapping[str, Any]) -> bool:
    if toleration.get("effect") and toleration["effect"] != taint["effect"]:
        return False
    if toleration.get("key") and toleration["key"] != taint["key"]:
        return False
    if toleration.get("operator", "Equal") == "Exists":
        return True
    return bool(toleration.get("key")) and toleration.get("value", "") == taint.get("value", "")


def message(found: Sequence[Sequence[Misfit]]) -> str:
    """One sentence per misfit of all nodes, one list a node, in kube-scheduler's words first."""
    misfits = [misfit for node in found for misfit in node]
    reasons = ", ".join(f"{count} {reason}" for reason, count in Counter(m.reason for m in misfits).items())
    details = dict.fromkeys(misfit.detail for misfit in misfits)
    return f"0/{len(found)} nodes are available: {reasons}. {'. '.join(details)}."
