"""The StatefulSet controller: reads one set and its pods, carries out statefulset_plan's decision, writes the status.

Templates of revisions are kept in ControllerRevisions, so that a partition or an unfinished update can recreate
old pods as they were.
"""

import time
from collections.abc import Iterable

from manta_operator.box.cluster import ApiError, Cluster, Event, Object
from manta_operator.box.workloads import statefulset_plan as plan
from manta_operator.box.workloads.claims import claim, delete_pod, owner_keys
from manta_operator.box.workloads.events import record
from manta_operator.box.workloads.objects import (
    Key,
    is_controlled_by,
    key_of,
    matches_labels,
    next_available,
    owner_reference,
    template_hash,
)


class StatefulSetController:
    """Keeps every StatefulSet's pods as its spec says."""

    name = "statefulset"
    kinds = ("StatefulSet", "Pod")

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def keys(self, event: Event) -> Iterable[Key]:
        """The set itself, or the set a pod belongs to (or could be adopted by)."""
        if event.object["kind"] == "StatefulSet":
            return [key_of(event.object)]
        owners = owner_keys(event.object, "StatefulSet")
        if owners or event.object["metadata"].get("ownerReferences"):
            return owners
        labels = event.object["metadata"].get("labels") or {}
        sets = self._cluster.list("StatefulSet", event.object["metadata"]["namespace"])
        return [key_of(sts) for sts in sets if matches_labels(sts["spec"].get("selector"), labels)]

    def reconcile(self, key: Key) -> float | None:
        """One pass over one set."""
        namespace, name = key
        sts = self._cluster.find("StatefulSet", namespace, name)
        if sts is None:
            return None
        pods = claim(self._cluster, sts, "Pod")
        revisions = self._revisions(sts)
        for action in plan.decide(sts, pods, revisions, time.time()):
            self._do(sts, pods, action)
        pods = [p for p in self._cluster.list("Pod", namespace) if is_controlled_by(p, sts)]
        status = plan.status(sts, pods, revisions, time.time())
        if status != sts.get("status"):
            self._cluster.patch_status("StatefulSet", namespace, name, {"status": status})
        return next_available(pods, int(sts["spec"].get("minReadySeconds") or 0), time.time())

    def _revisions(self, sts: Object) -> plan.Revisions:
        template = sts["spec"]["template"]
        update = f"{sts['metadata']['name']}-{template_hash(template)}"
        namespace = sts["metadata"]["namespace"]
        if self._cluster.find("ControllerRevision", namespace, update) is None:
            self._keep(sts, update, template)
        current = (sts.get("status") or {}).get("currentRevision")
        if not current or self._cluster.find("ControllerRevision", namespace, current) is None:
            current = update
        self._forget(sts, {current, update})
        return plan.Revisions(current, update)

    def _keep(self, sts: Object, name: str, template: Object) -> None:
        meta = sts["metadata"]
        known = [int(r.get("revision") or 0) for r in self._owned_revisions(sts)]
        self._cluster.create(
            {
                "apiVersion": "apps/v1",
                "kind": "ControllerRevision",
                "metadata": {
                    "name": name,
                    "namespace": meta["namespace"],
                    "labels": {**(template.get("metadata") or {}).get("labels", {}), plan.REVISION_LABEL: name},
                    "ownerReferences": [owner_reference(sts)],
                },
                "data": {"spec": {"template": template}},
                "revision": max(known, default=0) + 1,
            }
        )

    def _forget(self, sts: Object, live: set[str]) -> None:
        limit = int(sts["spec"].get("revisionHistoryLimit", 10))
        old = [r for r in self._owned_revisions(sts) if r["metadata"]["name"] not in live]
        old.sort(key=lambda revision: int(revision.get("revision") or 0))
        for revision in old[: max(0, len(old) - limit)]:
            namespace, name = key_of(revision)
            self._cluster.delete("ControllerRevision", namespace, name)

    def _owned_revisions(self, sts: Object) -> list[Object]:
        found = self._cluster.list("ControllerRevision", sts["metadata"]["namespace"])
        return [revision for revision in found if is_controlled_by(revision, sts)]

    def _do(self, sts: Object, pods: list[Object], action: plan.Action) -> None:
        try:
            if isinstance(action, plan.Create):
                self._create(sts, action)
            else:
                delete_pod(self._cluster, next(p for p in pods if p["metadata"]["name"] == action.name))
                message = f"delete Pod {action.name} in StatefulSet {sts['metadata']['name']} successful: {action.why}"
                record(self._cluster, sts, "Normal", "SuccessfulDelete", message)
        except ApiError as error:
            reason = "FailedCreate" if isinstance(action, plan.Create) else "FailedDelete"
            record(self._cluster, sts, "Warning", reason, f"{action}: {error.message}")
            raise

    def _create(self, sts: Object, action: plan.Create) -> None:
        namespace = sts["metadata"]["namespace"]
        for wanted in plan.claims(sts, action.ordinal):
            if self._cluster.find("PersistentVolumeClaim", namespace, wanted["metadata"]["name"]) is None:
                self._cluster.create(wanted)
        template = sts["spec"]["template"]
        stored = self._cluster.find("ControllerRevision", namespace, action.revision)
        if stored is not None:
            template = stored["data"]["spec"]["template"]
        pod = self._cluster.create(plan.pod(sts, template, action.ordinal, action.revision))
        message = f"create Pod {pod['metadata']['name']} in StatefulSet {sts['metadata']['name']} successful"
        record(self._cluster, sts, "Normal", "SuccessfulCreate", message)
