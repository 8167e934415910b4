"""The Deployment controller: carries out what deployment_plan decides for one Deployment, and writes its status."""

import time
from collections import Counter
from collections.abc import Iterable

from manta_operator.box.cluster import Cluster, Event, Object
from manta_operator.box.workloads import deployment_plan as plan
from manta_operator.box.workloads import deployment_status
from manta_operator.box.workloads.claims import claim, owner_keys
from manta_operator.box.workloads.events import record
from manta_operator.box.workloads.objects import TERMINAL_PHASES, Key, controller_of, is_deleting, key_of, phase


class DeploymentController:
    """Rolls every Deployment towards its template and size."""

    name = "deployment"
    kinds = ("Deployment", "ReplicaSet", "Pod")

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def keys(self, event: Event) -> Iterable[Key]:
        """The Deployment itself, or the owner of a ReplicaSet; a pod that has gone may let Recreate go on."""
        kind = event.object["kind"]
        if kind == "Deployment":
            return [key_of(event.object)]
        if kind == "ReplicaSet":
            return owner_keys(event.object, "Deployment")
        gone = event.type == "DELETED" or phase(event.object) in TERMINAL_PHASES
        owners = owner_keys(event.object, "ReplicaSet") if gone else []
        sets = [self._cluster.find("ReplicaSet", namespace, name) for namespace, name in owners]
        return [key for rs in sets if rs for key in owner_keys(rs, "Deployment")]

    def reconcile(self, key: Key) -> float | None:
        """One pass over one Deployment."""
        namespace, name = key
        deployment = self._cluster.find("Deployment", namespace, name)
        if deployment is None:
            return None
        if not is_deleting(deployment):
            self._roll(deployment, claim(self._cluster, deployment, "ReplicaSet"))
        sets = claim(self._cluster, deployment, "ReplicaSet")
        new, old = plan.split(deployment, sets)
        status = deployment_status.status(deployment, new, old, time.time())
        if status != deployment.get("status"):
            self._cluster.patch_status("Deployment", namespace, name, {"status": status})
        if deployment_status.is_complete(deployment, status):
            for forgotten in plan.to_forget(deployment, old):
                self._cluster.delete("ReplicaSet", namespace, forgotten)
        return deployment_status.seconds_to_deadline(deployment, status, time.time())

    def _roll(self, deployment: Object, sets: list[Object]) -> None:
        new, old = plan.split(deployment, sets)
        if not deployment["spec"].get("paused"):
            new = self._current(deployment, new, old)
        namespace, _ = key_of(deployment)
        for step in plan.decide(deployment, new, old):
            before = next(rs for rs in (*sets, new or {}) if rs and rs["metadata"]["name"] == step.name)
            self._cluster.patch("ReplicaSet", namespace, step.name, {"spec": {"replicas": step.replicas}})
            verb = "up" if step.replicas > plan.replicas_of(before) else "down"
            message = f"Scaled {verb} replica set {step.name} from {plan.replicas_of(before)} to {step.replicas}"
            record(self._cluster, deployment, "Normal", "ScalingReplicaSet", message)

    def _current(self, deployment: Object, new: Object | None, old: list[Object]) -> Object | None:
        """The ReplicaSet of today's template, made if it may be, with an up-to-date revision."""
        namespace, name = key_of(deployment)
        revision = max((plan.revision_of(rs) for rs in old), default=0) + 1
        if new is None:
            if plan.waits_for_old_pods(deployment, old, self._running(namespace)):
                return None
            born = plan.first_replicas(deployment, old)
            new = self._cluster.create(plan.new_replica_set(deployment, revision, born))
            message = f"Scaled up replica set {new['metadata']['name']} from 0 to {born}"
            record(self._cluster, deployment, "Normal", "ScalingReplicaSet", message)
        revision = max(revision, plan.revision_of(new))
        wait = int(deployment["spec"].get("minReadySeconds") or 0)
        wanted = plan.annotations_for(deployment, revision)
        annotations = new["metadata"].get("annotations") or {}
        stale = any(annotations.get(k) != v for k, v in wanted.items())
        if stale or int(new["spec"].get("minReadySeconds") or 0) != wait:
            patch = {"metadata": {"annotations": wanted}, "spec": {"minReadySeconds": wait}}
            new = self._cluster.patch("ReplicaSet", namespace, new["metadata"]["name"], patch)
        mine = (deployment["metadata"].get("annotations") or {}).get(plan.REVISION)
        if mine != str(revision):
            patch = {"metadata": {"annotations": {plan.REVISION: str(revision)}}}
            self._cluster.patch("Deployment", namespace, name, patch)
        return new

    def _running(self, namespace: str | None) -> Counter[str]:
        pods = self._cluster.list("Pod", namespace)
        owners = (controller_of(pod) for pod in pods if phase(pod) not in TERMINAL_PHASES)
        return Counter(str(owner["name"]) for owner in owners if owner and owner["kind"] == "ReplicaSet")
