"""The scheduler: binds pending pods to the box's one node, or says on the pod why not.

One key stands for the whole queue: every change of a pod or the node may let another pod in.
"""

import time
from collections.abc import Iterable, Sequence
from fractions import Fraction

from manta_operator.box.cluster import ApiError, Cluster, Event, Object
from manta_operator.box.workloads import scheduler_plan as plan
from manta_operator.box.workloads.events import record
from manta_operator.box.workloads.objects import Key, condition, is_deleting, key_of, timestamp, with_condition
from manta_operator.box.workloads.quantities import Amounts, parse

_QUEUE: Key = (None, "queue")


class Scheduler:
    """Binds pods to `node_name` as long as their requests fit what is left."""

    name = "scheduler"
    kinds = ("Pod", "Node")

    def __init__(self, cluster: Cluster, node_name: str) -> None:
        self._cluster = cluster
        self._node_name = node_name

    def keys(self, _: Event) -> Iterable[Key]:
        """The queue, whatever happened."""
        return [_QUEUE]

    def reconcile(self, _: Key) -> float | None:
        """Try every waiting pod once, in order; what each takes is gone for the next."""
        node = self._cluster.find("Node", None, self._node_name)
        if node is None:
            return None
        pods = self._cluster.list("Pod")
        waiting = plan.order(pods, self._priorities(pods))
        allocatable = {name: parse(amount) for name, amount in (node["status"].get("allocatable") or {}).items()}
        used = plan.in_use(pods)
        for pod in waiting:
            found = plan.misfits(pod, node, allocatable, used)
            if found:
                self._refuse(pod, plan.message(found))
            elif self._bind(pod):
                used = _plus(used, plan.requests(pod))
        return None

    def _priorities(self, pods: Sequence[Object]) -> dict[str, int]:
        names = {str(pod["spec"].get("priorityClassName") or "") for pod in pods} - {""}
        found = (self._cluster.find("PriorityClass", None, name) for name in sorted(names))
        return {item["metadata"]["name"]: int(item.get("value") or 0) for item in found if item}

    def _bind(self, pod: Object) -> bool:
        namespace, name = key_of(pod)
        try:
            bound = self._cluster.patch("Pod", namespace, name, {"spec": {"nodeName": self._node_name}})
        except ApiError as error:
            if error.reason in {"NotFound", "Conflict"}:
                return False
            raise
        if not is_deleting(bound):
            self._condition(bound, "True", None, None)
        message = f"Successfully assigned {namespace}/{name} to {self._node_name}"
        record(self._cluster, pod, "Normal", "Scheduled", message)
        return True

    def _refuse(self, pod: Object, message: str) -> None:
        old = condition(pod, "PodScheduled")
        if old is not None and old["status"] == "False" and old.get("message") == message:
            return
        self._condition(pod, "False", "Unschedulable", message)
        record(self._cluster, pod, "Warning", "FailedScheduling", message)

    def _condition(self, pod: Object, state: str, reason: str | None, message: str | None) -> None:
        stamp = timestamp(time.time())
        new: Object = {"type": "PodScheduled", "status": state, "lastTransitionTime": stamp}
        new |= {name: text for name, text in (("reason", reason), ("message", message)) if text}
        conditions = with_condition((pod.get("status") or {}).get("conditions") or [], new)
        namespace, name = key_of(pod)
        self._cluster.patch_status("Pod", namespace, name, {"status": {"phase": "Pending", "conditions": conditions}})


def _plus(left: Amounts, right: Amounts) -> dict[str, Fraction]:
    zero = Fraction(0)
    return {name: left.get(name, zero) + right.get(name, zero) for name in {**left, **right}}
