"""How many pods each ReplicaSet of a Deployment should have next: pure arithmetic, after Kubernetes' controller.

RollingUpdate keeps two promises: never more than replicas + maxSurge pods, never fewer than replicas -
maxUnavailable available ones.
The status and its conditions are in deployment_status.py, the loop around both in deployment.py.
"""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from manta_operator.box.cluster import Object
from manta_operator.box.workloads.objects import owner_reference, scaled, template_hash

HASH_LABEL = "pod-template-hash"
REVISION = "deployment.kubernetes.io/revision"
_OWN_ANNOTATIONS = (REVISION, "kubectl.kubernetes.io/last-applied-configuration")


@dataclass(frozen=True)
class Scale:
    """Set this ReplicaSet's replicas."""

    name: str
    replicas: int


def replicas_of(obj: Object) -> int:
    """spec.replicas, 1 when absent."""
    return int(obj["spec"].get("replicas", 1))


def available_of(replica_set: Object) -> int:
    """status.availableReplicas, 0 when absent."""
    return int((replica_set.get("status") or {}).get("availableReplicas") or 0)


def revision_of(replica_set: Object) -> int:
    """The rollout revision noted on a ReplicaSet; 0 when none is."""
    return int((replica_set["metadata"].get("annotations") or {}).get(REVISION) or 0)


def bounds(deployment: Object) -> tuple[int, int]:
    """(maxSurge, maxUnavailable) in pods; never both zero, since nothing could move then."""
    strategy = deployment["spec"].get("strategy") or {}
    if strategy.get("type", "RollingUpdate") != "RollingUpdate":
        return 0, 0
    rolling = strategy.get("rollingUpdate") or {}
    total = replicas_of(deployment)
    surge = scaled(rolling.get("maxSurge", "25%"), total, up=True)
    unavailable = scaled(rolling.get("maxUnavailable", "25%"), total, up=False)
    return surge, min(unavailable, total) if surge or unavailable else 1


def split(deployment: Object, replica_sets: Sequence[Object]) -> tuple[Object | None, list[Object]]:
    """(the ReplicaSet of the template asked for now, the others oldest first)."""
    wanted = _bare(deployment["spec"]["template"])
    matching = [rs for rs in replica_sets if _bare(rs["spec"]["template"]) == wanted]
    new = matching[0] if matching else None
    return new, sorted((rs for rs in replica_sets if rs is not new), key=revision_of)


def _bare(template: Object) -> Object:
    bare = copy.deepcopy(template)
    meta = bare.get("metadata") or {}
    labels = {name: value for name, value in (meta.get("labels") or {}).items() if name != HASH_LABEL}
    return {"spec": bare["spec"], "labels": labels, "annotations": meta.get("annotations") or {}}


def annotations_for(deployment: Object, revision: int) -> dict[str, str]:
    """What a ReplicaSet carries over from its Deployment, with its revision."""
    own = deployment["metadata"].get("annotations") or {}
    return {**{k: v for k, v in own.items() if k not in _OWN_ANNOTATIONS}, REVISION: str(revision)}


def new_replica_set(deployment: Object, revision: int, replicas: int) -> Object:
    """The ReplicaSet of the Deployment's template, told from the others by pod-template-hash."""
    template = copy.deepcopy(deployment["spec"]["template"])
    label = {HASH_LABEL: template_hash(_bare(template))}
    meta = template.setdefault("metadata", {})
    meta["labels"] = {**(meta.get("labels") or {}), **label}
    selector = copy.deepcopy(deployment["spec"]["selector"])
    selector["matchLabels"] = {**(selector.get("matchLabels") or {}), **label}
    return {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {
            "name": f"{deployment['metadata']['name']}-{label[HASH_LABEL]}",
            "namespace": deployment["metadata"]["namespace"],
            "labels": meta["labels"],
            "annotations": annotations_for(deployment, revision),
            "ownerReferences": [owner_reference(deployment)],
        },
        "spec": {
            "replicas": replicas,
            "minReadySeconds": int(deployment["spec"].get("minReadySeconds") or 0),
            "selector": selector,
            "template": template,
        },
    }


def first_replicas(deployment: Object, old: Sequence[Object]) -> int:
    """How many pods a ReplicaSet may be born with."""
    surge, _ = bounds(deployment)
    total = replicas_of(deployment)
    return max(0, min(total, total + surge - sum(replicas_of(rs) for rs in old)))


def waits_for_old_pods(deployment: Object, old: Sequence[Object], running: Mapping[str, int]) -> bool:
    """Recreate: whether pods of an old ReplicaSet still run (running: pods not ended, by ReplicaSet name)."""
    recreate = (deployment["spec"].get("strategy") or {}).get("type") == "Recreate"
    return recreate and any(running.get(rs["metadata"]["name"], 0) for rs in old)


def decide(deployment: Object, new: Object | None, old: Sequence[Object]) -> list[Scale]:
    """The next sizes; only the ReplicaSets that change."""
    if deployment["spec"].get("paused"):
        return _follow(deployment, new, old)
    if (deployment["spec"].get("strategy") or {}).get("type") == "Recreate":
        return _recreate(deployment, new, old)
    if new is None:
        return []
    grown = _grow(deployment, new, old)
    return grown or _shrink(deployment, new, old)


def _follow(deployment: Object, new: Object | None, old: Sequence[Object]) -> list[Scale]:
    """Paused: no rollout, but scaling still works; the newest ReplicaSet in use takes the difference."""
    active = [rs for rs in (*old, *([new] if new else [])) if replicas_of(rs) > 0]
    latest = active[-1] if active else new
    if latest is None:
        return []
    others = sum(replicas_of(rs) for rs in active if rs is not latest)
    wanted = max(0, replicas_of(deployment) - others)
    return [Scale(latest["metadata"]["name"], wanted)] if wanted != replicas_of(latest) else []


def _recreate(deployment: Object, new: Object | None, old: Sequence[Object]) -> list[Scale]:
    down = [Scale(rs["metadata"]["name"], 0) for rs in old if replicas_of(rs) > 0]
    if down or new is None or replicas_of(new) == replicas_of(deployment):
        return down
    return [Scale(new["metadata"]["name"], replicas_of(deployment))]


def _grow(deployment: Object, new: Object, old: Sequence[Object]) -> list[Scale]:
    wanted, size = replicas_of(deployment), replicas_of(new)
    if size > wanted:
        return [Scale(new["metadata"]["name"], wanted)]
    surge, _ = bounds(deployment)
    room = wanted + surge - size - sum(replicas_of(rs) for rs in old)
    step = min(room, wanted - size)
    return [Scale(new["metadata"]["name"], size + step)] if step > 0 else []


def _shrink(deployment: Object, new: Object, old: Sequence[Object]) -> list[Scale]:
    """Old pods go: first those that serve nobody, then as many available ones as maxUnavailable allows."""
    _, unavailable = bounds(deployment)
    floor = replicas_of(deployment) - unavailable
    everything = [*old, new]
    new_missing = replicas_of(new) - available_of(new)
    budget = sum(replicas_of(rs) for rs in everything) - floor - new_missing
    sizes = {rs["metadata"]["name"]: replicas_of(rs) for rs in old}
    for rs in old:
        useless = min(budget, max(0, replicas_of(rs) - available_of(rs)))
        if useless > 0:
            sizes[rs["metadata"]["name"]] -= useless
            budget -= useless
    spare = sum(available_of(rs) for rs in everything) - floor
    for rs in old:
        name = rs["metadata"]["name"]
        step = min(spare, sizes[name])
        if step > 0:
            sizes[name] -= step
            spare -= step
    return [Scale(rs["metadata"]["name"], sizes[rs["metadata"]["name"]]) for rs in old if _changed(rs, sizes)]


def _changed(replica_set: Object, sizes: Mapping[str, int]) -> bool:
    return sizes[replica_set["metadata"]["name"]] != replicas_of(replica_set)


def to_forget(deployment: Object, old: Sequence[Object]) -> list[str]:
    """Names of empty old ReplicaSets beyond revisionHistoryLimit, oldest first."""
    limit = int(deployment["spec"].get("revisionHistoryLimit", 10))
    empty = [rs for rs in old if not replicas_of(rs) and not (rs.get("status") or {}).get("replicas")]
    return [rs["metadata"]["name"] for rs in empty[: max(0, len(empty) - limit)]]
