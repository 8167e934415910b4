"""The status of a Deployment: counts, and the conditions `kubectl rollout status` reads. Pure."""

from collections.abc import Sequence

from manta_operator.box.cluster import Object
from manta_operator.box.workloads.deployment_plan import bounds, replicas_of
from manta_operator.box.workloads.objects import condition, seconds, timestamp, with_condition


def _count(replica_sets: Sequence[Object], field: str) -> int:
    return sum(int((rs.get("status") or {}).get(field) or 0) for rs in replica_sets)


def status(deployment: Object, new: Object | None, old: Sequence[Object], now: float) -> Object:
    """The whole status; equal to the old one when nothing happened."""
    everything = [*old, *([new] if new else [])]
    desired = sum(replicas_of(rs) for rs in everything)
    available = _count(everything, "availableReplicas")
    counts: Object = {
        "observedGeneration": deployment["metadata"].get("generation", 1),
        "replicas": _count(everything, "replicas"),
        "updatedReplicas": _count([new] if new else [], "replicas"),
        "readyReplicas": _count(everything, "readyReplicas"),
        "availableReplicas": available,
        "unavailableReplicas": max(0, desired - available),
    }
    conditions = list((deployment.get("status") or {}).get("conditions") or [])
    conditions = _set(conditions, _available(deployment, available), now)
    progress = _progressing(deployment, new, counts, now)
    if progress is not None:
        conditions = _set(conditions, progress, now, touched=_moved(deployment, counts))
    return {**counts, "conditions": conditions}


def is_complete(deployment: Object, counts: Object) -> bool:
    """Every pod is of the new template and available, and no old one is left."""
    wanted = replicas_of(deployment)
    return bool(counts["updatedReplicas"] == counts["replicas"] == counts["availableReplicas"] == wanted)


def _moved(deployment: Object, counts: Object) -> bool:
    """Whether the rollout has come further since the last status."""
    last = deployment.get("status") or {}
    before = {name: int(last.get(name) or 0) for name in counts}
    grown = ("updatedReplicas", "readyReplicas", "availableReplicas")
    old_before = before["replicas"] - before["updatedReplicas"]
    fewer_old = counts["replicas"] - counts["updatedReplicas"] < old_before
    return fewer_old or any(counts[name] > before[name] for name in grown)


def _available(deployment: Object, available: int) -> tuple[str, str, str, str]:
    _, unavailable = bounds(deployment)
    if available >= replicas_of(deployment) - unavailable:
        return "Available", "True", "MinimumReplicasAvailable", "Deployment has minimum availability."
    message = "Deployment does not have minimum availability."
    return "Available", "False", "MinimumReplicasUnavailable", message


def _progressing(
    deployment: Object, new: Object | None, counts: Object, now: float
) -> tuple[str, str, str, str] | None:
    old = condition(deployment, "Progressing")
    if deployment["spec"].get("paused"):
        return "Progressing", "Unknown", "DeploymentPaused", "Deployment is paused"
    if new is None:
        return None
    name = new["metadata"]["name"]
    if is_complete(deployment, counts):
        message = f'ReplicaSet "{name}" has successfully progressed.'
        return "Progressing", "True", "NewReplicaSetAvailable", message
    if old is None or f'"{name}"' not in str(old.get("message")):
        return "Progressing", "True", "NewReplicaSetCreated", f'Created new replica set "{name}"'
    if _moved(deployment, counts) or old["reason"] == "NewReplicaSetAvailable":
        return "Progressing", "True", "ReplicaSetUpdated", f'ReplicaSet "{name}" is progressing.'
    if deadline(deployment, old) <= now:
        message = f'ReplicaSet "{name}" has timed out progressing.'
        return "Progressing", "False", "ProgressDeadlineExceeded", message
    return "Progressing", str(old["status"]), str(old["reason"]), str(old["message"])


def deadline(deployment: Object, progressing: Object) -> float:
    """When (seconds since the epoch) a rollout that does not move is called stuck."""
    limit = int(deployment["spec"].get("progressDeadlineSeconds", 600))
    return seconds(progressing.get("lastUpdateTime")) + limit


def seconds_to_deadline(deployment: Object, new_status: Object, now: float) -> float | None:
    """How long until the deadline has to be judged again; None when it is not running."""
    progressing = condition({"status": new_status}, "Progressing")
    if progressing is None or progressing["status"] != "True" or is_complete(deployment, new_status):
        return None
    return max(1.0, deadline(deployment, progressing) - now)


def _set(
    conditions: list[Object], new: tuple[str, str, str, str], now: float, *, touched: bool = False
) -> list[Object]:
    kind, state, reason, message = new
    old = next((item for item in conditions if item["type"] == kind), None)
    same = old is not None and (old["status"], old.get("reason"), old.get("message")) == (state, reason, message)
    if same and not touched:
        return conditions
    stamp = timestamp(now)
    times = {"lastUpdateTime": stamp, "lastTransitionTime": stamp}
    return with_condition(conditions, {"type": kind, "status": state, "reason": reason, "message": message, **times})
