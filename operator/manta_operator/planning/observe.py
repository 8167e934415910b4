"""Child bodies to values: what the cluster has, as the plan needs to see it. Pure.

The controller lists every child of a deployment by label and hands the bodies in; nothing here asks the API server.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from manta_operator.api import names

Body = Mapping[str, Any]
Object = dict[str, Any]


@dataclass(frozen=True)
class ObservedPod:
    """One engine pod and why it is not ready, in its own words. Times are epoch seconds."""

    name: str
    group: str
    ready: bool
    problem: str | None
    uid: str = ""
    running: bool = False
    """Every container has started at least once and the pod has not ended (phase Running)."""
    created: float = 0.0
    started: float | None = None
    """When the kubelet took it."""
    engine_started: float | None = None
    """When the youngest of its containers started; None while one does not run."""
    node: str | None = None
    deleting: bool = False
    lost: bool = False
    """Its node is lost, or it should have ended long ago: nothing will become of it."""
    restarts: int = 0
    """Restarts of its containers."""
    ready_since: float | None = None
    unready_since: float | None = None
    """When it stopped being ready, or when the kubelet first said that it is not; None while it is ready."""
    unschedulable_since: float | None = None


@dataclass(frozen=True)
class GroupRestart:
    """The annotation `manta.dev/restart`: how often the group was restarted; pods created before `at` are to go."""

    count: int
    at: float


@dataclass(frozen=True)
class ObservedGroup:
    """One replica: the StatefulSet, its pods, and how many of them are ready."""

    name: str
    uid: str
    revision: str
    index: int
    pods: int
    """How many pods it should have; `members` are those that exist."""
    ready_pods: int
    created: float = 0.0
    restart: GroupRestart | None = None
    members: tuple[ObservedPod, ...] = ()

    @property
    def ready(self) -> bool:
        """Whether the whole group serves."""
        return self.pods > 0 and self.ready_pods >= self.pods


@dataclass(frozen=True)
class LeavingGroup:
    """Pods whose StatefulSet is gone or going: they drain, and their names cannot be used yet."""

    name: str
    revision: str
    lost: bool = False
    """Every one of them is lost: they hold no accelerator that anybody could use."""


@dataclass(frozen=True)
class Observed:
    """Everything the plan and the conditions read. Groups are ordered by name."""

    groups: tuple[ObservedGroup, ...] = ()
    pods: tuple[ObservedPod, ...] = ()
    router_ready: int = 0
    leaving: tuple[LeavingGroup, ...] = ()
    now: float = 0.0
    """When this was observed, in epoch seconds."""

    @property
    def busy_names(self) -> frozenset[str]:
        """Names of groups whose pods are still there although their StatefulSet leaves or has left."""
        return frozenset(group.name for group in self.leaving)

    def ready_groups(self, revision: str | None = None) -> int:
        """Count the replicas that serve, of one revision or of all."""
        return sum(group.ready for group in self.groups if revision in (None, group.revision))

    def wanted_groups(self, revision: str, replicas: int) -> int:
        """Count the groups, serving or not, that `replicas` of a revision are made of."""
        return sum(group.revision == revision and group.index < replicas for group in self.groups)


def slim(kind: str, body: Body) -> Object:
    """Return the part of a child that `observe` reads; the controller may keep that alone.

    Args:
        kind: StatefulSet, Pod or Deployment.
        body: The child as the API server returns it.
    """
    kept = ("name", "uid", "labels", "annotations", "generation", "creationTimestamp", "deletionTimestamp")
    metadata = {name: body["metadata"][name] for name in (*kept, "ownerReferences") if name in body["metadata"]}
    if kind == "Pod":
        return {"metadata": metadata, "spec": {"nodeName": body["spec"].get("nodeName")}, "status": body.get("status")}
    return {"metadata": metadata, "spec": {"replicas": body["spec"].get("replicas")}, "status": body.get("status")}


def observe(
    statefulsets: Iterable[Body],
    pods: Iterable[Body],
    deployments: Iterable[Body],
    now: float = 0.0,
    lost_nodes: frozenset[str] = frozenset(),
) -> Observed:
    """Read the children of one LLMDeployment; those being deleted no longer count as groups.

    Args:
        statefulsets: Its StatefulSets, as the API server returns them or as `slim` leaves them; the same for all.
        pods: Its engine pods.
        deployments: Its Deployments: the router.
        now: Epoch seconds.
        lost_nodes: Nodes that are gone or not ready for too long (`placement.nodes.lost`).
    """
    del lost_nodes  # until health.py judges them
    groups = [_group(body) for body in statefulsets if not body["metadata"].get("deletionTimestamp")]
    return Observed(
        groups=tuple(sorted(groups, key=lambda group: group.name)),
        pods=tuple(sorted(map(_pod, pods), key=lambda pod: pod.name)),
        router_ready=sum(int((body.get("status") or {}).get("readyReplicas") or 0) for body in deployments),
        now=now,
    )


def _group(body: Body) -> ObservedGroup:
    metadata, status = body["metadata"], body.get("status") or {}
    labels = metadata.get("labels") or {}
    current = status.get("observedGeneration", 0) >= metadata.get("generation", 1)
    return ObservedGroup(
        name=metadata["name"],
        uid=metadata["uid"],
        revision=labels.get(names.LABEL_REVISION, ""),
        index=int(labels.get(names.LABEL_REPLICA, "0")),
        pods=int(body["spec"].get("replicas") or 1),
        ready_pods=int(status.get("readyReplicas") or 0) if current else 0,
    )


def _pod(body: Body) -> ObservedPod:
    metadata, status = body["metadata"], body.get("status") or {}
    conditions = {entry["type"]: entry for entry in status.get("conditions") or ()}
    return ObservedPod(
        name=metadata["name"],
        group=metadata["name"].rpartition("-")[0],
        ready=conditions.get("Ready", {}).get("status") == "True" and not metadata.get("deletionTimestamp"),
        problem=pod_problem(status),
    )


def pod_problem(status: Mapping[str, Any]) -> str | None:
    """Return why a pod does not run, in the words of the scheduler or the kubelet; None if nothing is wrong."""
    conditions = {entry["type"]: entry for entry in status.get("conditions") or ()}
    scheduled = conditions.get("PodScheduled", {})
    if scheduled.get("status") == "False":
        return f"{scheduled.get('reason')}: {scheduled.get('message')}"
    containers = [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]
    for container in containers:
        waiting = container.get("state", {}).get("waiting")
        if waiting and waiting.get("reason") not in (None, "ContainerCreating", "PodInitializing"):
            return _waiting(container, waiting)
    return None


def _waiting(container: Mapping[str, Any], waiting: Mapping[str, Any]) -> str:
    text = f"{waiting['reason']}: {waiting.get('message') or container.get('name')}"
    last = container.get("lastState", {}).get("terminated") or {}
    log = (last.get("message") or "").strip().splitlines()
    return f"{text}; it last said: {log[-1][:300]}" if log else text
