"""The ReplicaSet controller: so many pods of one template. `decide` is pure, the class carries it out."""

import copy
import time
from collections.abc import Iterable, Sequence

from manta_operator.box.cluster import ApiError, Cluster, Event, Object
from manta_operator.box.workloads.claims import claim, delete_pod, owner_keys
from manta_operator.box.workloads.events import record
from manta_operator.box.workloads.objects import (
    Key,
    available_at,
    condition,
    is_active,
    is_controlled_by,
    is_deleting,
    is_ready,
    key_of,
    matches_labels,
    next_available,
    owner_reference,
    phase,
    seconds,
)


def decide(replica_set: Object, pods: Sequence[Object]) -> tuple[int, list[Object]]:
    """(how many pods to create, which pods to delete); the least useful pods go first."""
    if is_deleting(replica_set):
        return 0, []
    active = [pod for pod in pods if is_active(pod)]
    surplus = len(active) - int(replica_set["spec"].get("replicas", 1))
    if surplus < 0:
        return -surplus, []
    return 0, sorted(active, key=_worth)[:surplus]


def _worth(pod: Object) -> tuple[bool, int, bool, float, int, float]:
    """Kubernetes' order: unbound, pending, not ready, ready for a short time, often restarted, young."""
    ready = condition(pod, "Ready") or {}
    restarts = [int(c.get("restartCount") or 0) for c in (pod.get("status") or {}).get("containerStatuses") or []]
    ready_since = seconds(ready.get("lastTransitionTime")) if is_ready(pod) else 0.0
    return (
        bool(pod["spec"].get("nodeName")),
        {"Pending": 0, "Unknown": 1}.get(phase(pod), 2),
        is_ready(pod),
        -ready_since,
        -max(restarts, default=0),
        -seconds(pod["metadata"].get("creationTimestamp")),
    )


def status(replica_set: Object, pods: Sequence[Object], now: float) -> Object:
    """Counts of the pods that are neither ended nor leaving."""
    active = [pod for pod in pods if is_active(pod)]
    labels = (replica_set["spec"]["template"].get("metadata") or {}).get("labels") or {}
    wait = int(replica_set["spec"].get("minReadySeconds") or 0)
    return {
        "observedGeneration": replica_set["metadata"].get("generation", 1),
        "replicas": len(active),
        "fullyLabeledReplicas": sum(matches_labels({"matchLabels": labels}, _labels(pod)) for pod in active),
        "readyReplicas": sum(is_ready(pod) for pod in active),
        "availableReplicas": sum(available_at(pod, wait) <= now for pod in active),
    }


def _labels(obj: Object) -> dict[str, str]:
    return obj["metadata"].get("labels") or {}


def new_pod(replica_set: Object) -> Object:
    """One more pod of the template; the API server completes its name."""
    template = copy.deepcopy(replica_set["spec"]["template"])
    meta = template.get("metadata") or {}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "generateName": f"{replica_set['metadata']['name']}-",
            "namespace": replica_set["metadata"]["namespace"],
            "labels": meta.get("labels") or {},
            "annotations": meta.get("annotations") or {},
            "ownerReferences": [owner_reference(replica_set)],
        },
        "spec": template["spec"],
    }


class ReplicaSetController:
    """Keeps as many pods as every ReplicaSet asks for."""

    name = "replicaset"
    kinds = ("ReplicaSet", "Pod")

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def keys(self, event: Event) -> Iterable[Key]:
        """The ReplicaSet itself, or the one a pod belongs to (or could be adopted by)."""
        if event.object["kind"] == "ReplicaSet":
            return [key_of(event.object)]
        if event.object["metadata"].get("ownerReferences"):
            return owner_keys(event.object, "ReplicaSet")
        sets = self._cluster.list("ReplicaSet", event.object["metadata"]["namespace"])
        return [key_of(rs) for rs in sets if matches_labels(rs["spec"].get("selector"), _labels(event.object))]

    def reconcile(self, key: Key) -> float | None:
        """One pass over one ReplicaSet."""
        namespace, name = key
        replica_set = self._cluster.find("ReplicaSet", namespace, name)
        if replica_set is None:
            return None
        missing, surplus = decide(replica_set, claim(self._cluster, replica_set, "Pod"))
        for _ in range(missing):
            self._create(replica_set)
        for pod in surplus:
            delete_pod(self._cluster, pod)
            message = f"Deleted pod: {pod['metadata']['name']}"
            record(self._cluster, replica_set, "Normal", "SuccessfulDelete", message)
        pods = [pod for pod in self._cluster.list("Pod", namespace) if is_controlled_by(pod, replica_set)]
        new = status(replica_set, pods, time.time())
        if new != replica_set.get("status"):
            self._cluster.patch_status("ReplicaSet", namespace, name, {"status": new})
        return next_available(pods, int(replica_set["spec"].get("minReadySeconds") or 0), time.time())

    def _create(self, replica_set: Object) -> None:
        try:
            pod = self._cluster.create(new_pod(replica_set))
        except ApiError as error:
            record(self._cluster, replica_set, "Warning", "FailedCreate", f"Error creating: {error.message}")
            raise
        message = f"Created pod: {pod['metadata']['name']}"
        record(self._cluster, replica_set, "Normal", "SuccessfulCreate", message)
