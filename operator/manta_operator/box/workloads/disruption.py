"""The PodDisruptionBudget controller: how many pods may be evicted now. `status` is pure, the class writes it."""

import time
from collections.abc import Iterable, Sequence

from manta_operator.box.cluster import Cluster, Event, Object
from manta_operator.box.workloads.objects import (
    Key,
    controller_of,
    is_active,
    is_ready,
    key_of,
    matches_labels,
    scaled,
    timestamp,
    with_condition,
)

_SCALABLE = ("ReplicaSet", "StatefulSet")


def status(budget: Object, pods: Sequence[Object], expected: int, now: float) -> Object:
    """Status from the matching pods and the number their controllers ask for."""
    active = [pod for pod in pods if is_active(pod)]
    spec = budget["spec"]
    if spec.get("maxUnavailable") is not None:
        desired = max(0, expected - scaled(spec["maxUnavailable"], expected, up=True))
    elif isinstance(spec.get("minAvailable"), int):
        expected, desired = len(active), int(spec["minAvailable"])
    else:
        desired = scaled(spec.get("minAvailable", 1), expected, up=True)
    healthy = sum(is_ready(pod) for pod in active)
    allowed = max(0, healthy - desired) if expected > 0 else 0
    condition = {
        "type": "DisruptionAllowed",
        "status": "True" if allowed else "False",
        "reason": "SufficientPods" if allowed else "InsufficientPods",
        "message": "",
        "observedGeneration": budget["metadata"].get("generation", 1),
        "lastTransitionTime": timestamp(now),
    }
    return {
        "observedGeneration": budget["metadata"].get("generation", 1),
        "expectedPods": expected,
        "desiredHealthy": desired,
        "currentHealthy": healthy,
        "disruptionsAllowed": allowed,
        "conditions": with_condition((budget.get("status") or {}).get("conditions") or [], condition),
    }


class DisruptionController:
    """Keeps the status of every PodDisruptionBudget true."""

    name = "disruption"
    kinds = ("PodDisruptionBudget", "Pod")

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def keys(self, event: Event) -> Iterable[Key]:
        """The budget itself, or those whose selector matches a pod."""
        if event.object["kind"] == "PodDisruptionBudget":
            return [key_of(event.object)]
        labels = event.object["metadata"].get("labels") or {}
        budgets = self._cluster.list("PodDisruptionBudget", event.object["metadata"]["namespace"])
        return [key_of(budget) for budget in budgets if matches_labels(budget["spec"].get("selector"), labels)]

    def reconcile(self, key: Key) -> float | None:
        """One pass over one budget."""
        namespace, name = key
        budget = self._cluster.find("PodDisruptionBudget", namespace, name)
        if budget is None:
            return None
        selector = budget["spec"].get("selector")
        pods = self._cluster.list("Pod", namespace)
        pods = [pod for pod in pods if matches_labels(selector, pod["metadata"].get("labels") or {})]
        new = status(budget, pods, self._expected(namespace, pods), time.time())
        if new != budget.get("status"):
            self._cluster.patch_status("PodDisruptionBudget", namespace, name, {"status": new})
        return None

    def _expected(self, namespace: str | None, pods: Sequence[Object]) -> int:
        owners = {(o["kind"], o["name"]) for o in map(controller_of, pods) if o and o["kind"] in _SCALABLE}
        found = [self._cluster.find(kind, namespace, name) for kind, name in sorted(owners)]
        return sum(int(owner["spec"].get("replicas", 1)) for owner in found if owner is not None)
