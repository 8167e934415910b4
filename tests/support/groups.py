"""Replica groups as the API server returns them: a StatefulSet and its pods, in every state a plan can meet."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

Body = dict[str, Any]


def stamp(seconds: float) -> str:
    """Epoch seconds as Kubernetes writes them."""
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass
class Group:
    """One replica group; tests change its pods' bodies before they observe it."""

    statefulset: Body
    pods: list[Body] = field(default_factory=list)


def condition(kind: str, status: str, since: float, **more: Any) -> Body:
    return {"type": kind, "status": status, "lastTransitionTime": stamp(since)} | more


def pod(group: Body, ordinal: int, *, ready: float | None = None, created: float = 0.0, **status: Any) -> Body:
    """A running pod of a StatefulSet; `ready`: since when. Keywords replace fields of the status."""
    name, uid = group["metadata"]["name"], group["metadata"]["uid"]
    unready = condition("Ready", "False", created)
    return {
        "metadata": {
            "name": f"{name}-{ordinal}",
            "uid": f"uid-{name}-{ordinal}-{created:.0f}",
            "labels": dict(group["metadata"]["labels"]),
            "creationTimestamp": stamp(created),
            "ownerReferences": [{"kind": "StatefulSet", "name": name, "uid": uid, "controller": True}],
        },
        "spec": {"nodeName": "node-1"},
        "status": {
            "phase": "Running",
            "startTime": stamp(created),
            "conditions": [unready if ready is None else condition("Ready", "True", ready)],
            "containerStatuses": [
                {"name": "engine", "restartCount": 0, "state": {"running": {"startedAt": stamp(created)}}}
            ],
        }
        | status,
    }


def group(revision: str, index: int, *, ready: bool = True, pods: int = 1, created: float = 0.0) -> Group:
    """A group of `demo` whose pods all run; ready ones since a minute after their creation."""
    name = f"demo-{revision}-{index}"
    statefulset: Body = {
        "metadata": {
            "name": name,
            "uid": f"uid-{name}",
            "creationTimestamp": stamp(created),
            "labels": {
                "manta.dev/deployment": "demo",
                "app.kubernetes.io/component": "engine",
                "manta.dev/revision": revision,
                "manta.dev/replica": str(index),
            },
        },
        "spec": {"replicas": pods},
    }
    since = created + 60 if ready else None
    return Group(statefulset, [pod(statefulset, ordinal, ready=since, created=created) for ordinal in range(pods)])


def stopped(made: Group, at: float) -> Group:
    """The group whose processes still run but are not ready since `at`."""
    for body in made.pods:
        body["status"]["conditions"] = [condition("Ready", "False", at)]
    return made


def unschedulable(made: Group, since: float, reason: str = "Unschedulable") -> Group:
    """The group whose pods wait for a place."""
    for body in made.pods:
        body["spec"] = {}
        waits = condition("PodScheduled", "False", since, reason=reason, message="0/3 nodes are available")
        body["status"] = {"phase": "Pending", "conditions": [waits]}
    return made


def crashing(made: Group, restarts: int = 4) -> Group:
    """The group whose engine ends again and again."""
    waiting = {"reason": "CrashLoopBackOff", "message": "back-off 40s"}
    last = {"terminated": {"message": "loading\nCUDA out of memory"}}
    for body in made.pods:
        body["status"]["containerStatuses"] = [
            {"name": "engine", "restartCount": restarts, "state": {"waiting": waiting}, "lastState": last}
        ]
    return made


def unhelped(made: Group, restarts: int = 4, *, engine: bool = True) -> Group:
    """The group whose container beside the engine ends again and again, while the engine is ready or not."""
    waiting = {"reason": "CrashLoopBackOff", "message": "back-off 40s restarting failed container=adapters"}
    for body in made.pods:
        body["status"]["containerStatuses"][0]["ready"] = engine
        beside = {"name": "adapters", "ready": False, "restartCount": restarts, "state": {"waiting": waiting}}
        body["status"]["containerStatuses"].append(beside)
    return made


def restarted(made: Group, count: int, at: float) -> Group:
    """The group with a restart noted."""
    made.statefulset["metadata"]["annotations"] = {"manta.dev/restart": f'{{"count": {count}, "at": "{stamp(at)}"}}'}
    return made


def bodies(*groups: Group) -> tuple[list[Body], list[Body]]:
    """StatefulSets and pods, as `observe` takes them."""
    return [each.statefulset for each in groups], [pod for each in groups for pod in each.pods]
