"""The scheduler: binds pending pods to a node, the box has one, or says on the pod why not.

One key stands for the whole queue: every change of a pod or of a node may let another pod in.
"""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction

from manta_operator.box.cluster import ApiError, Cluster, Event, Object
from manta_operator.box.workloads import scheduler_plan as plan
from manta_operator.box.workloads.events import record
from manta_operator.box.workloads.objects import Key, condition, is_deleting, key_of, timestamp, with_condition
from manta_operator.placement.predicates import misfits
from manta_operator.placement.quantities import Amounts, parse
from manta_operator.placement.requests import add, in_use, requests

_QUEUE: Key = (None, "queue")


@dataclass
class _Place:
    """A node, and what is taken of it while this pass goes on."""

    node: Object
    allocatable: Amounts
    used: dict[str, Fraction]

    @property
    def name(self) -> str:
        return str(self.node["metadata"]["name"])


def _place(node: Object, pods: Sequence[Object]) -> _Place:
    amounts = (node.get("status") or {}).get("allocatable") or {}
    mine = [pod for pod in pods if pod["spec"].get("nodeName") == node["metadata"]["name"]]
    return _Place(node, {name: parse(amount) for name, amount in amounts.items()}, in_use(mine))


class Scheduler:
    """Binds each pod to the node with the fewest pods of those where its requests fit what is left."""

    name = "scheduler"
    kinds = ("Pod", "Node")

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def keys(self, _: Event) -> Iterable[Key]:
        """The queue, whatever happened."""
        return [_QUEUE]

    def reconcile(self, _: Key) -> float | None:
        """Try every waiting pod once, in order; what each takes is gone for the next."""
        pods = self._cluster.list("Pod")
        places = [_place(node, pods) for node in self._cluster.list("Node")]
        if not places:
            return None
        for pod in plan.order(pods, self._priorities(pods)):
            found = [misfits(pod, place.node, place.allocatable, place.used) for place in places]
            fitting = [place for place, reasons in zip(places, found, strict=True) if not reasons]
            if not fitting:
                self._refuse(pod, plan.message(found))
                continue
            place = min(fitting, key=lambda place: (place.used.get("pods", 0), place.name))
            if self._bind(pod, place.name):
                place.used = add([place.used, requests(pod)])
        return None

    def _priorities(self, pods: Sequence[Object]) -> dict[str, int]:
        names = {str(pod["spec"].get("priorityClassName") or "") for pod in pods} - {""}
        found = (self._cluster.find("PriorityClass", None, name) for name in sorted(names))
        return {item["metadata"]["name"]: int(item.get("value") or 0) for item in found if item}

    def _bind(self, pod: Object, node: str) -> bool:
        namespace, name = key_of(pod)
        try:
            bound = self._cluster.patch("Pod", namespace, name, {"spec": {"nodeName": node}})
        except ApiError as error:
            if error.reason in {"NotFound", "Conflict"}:
                return False
            raise
        if not is_deleting(bound):
            self._condition(bound, "True", None, None)
        message = f"Successfully assigned {namespace}/{name} to {node}"
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
