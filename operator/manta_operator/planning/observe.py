"""Child bodies to values: what the cluster has, as the plan needs to see it. Pure.

The controller lists every child of a deployment by label and hands the bodies in; nothing here asks the API server.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from manta_operator.api import names

Body = Mapping[str, Any]


@dataclass(frozen=True)
class ObservedPod:
    """One engine pod and why it is not ready, in its own words."""

    name: str
    group: str
    ready: bool
    problem: str | None


@dataclass(frozen=True)
class ObservedGroup:
    """One replica: the StatefulSet and how many of its pods are ready."""

    name: str
    uid: str
    revision: str
    index: int
    pods: int
    ready_pods: int

    @property
    def ready(self) -> bool:
        """Whether the whole group serves."""
        return self.pods > 0 and self.ready_pods >= self.pods


@dataclass(frozen=True)
class Observed:
    """Everything the plan and the conditions read. Groups are ordered by name."""

    groups: tuple[ObservedGroup, ...] = ()
    pods: tuple[ObservedPod, ...] = ()
    router_ready: int = 0

    def ready_groups(self, revision: str | None = None) -> int:
        """Count the replicas that serve, of one revision or of all."""
        return sum(group.ready for group in self.groups if revision in (None, group.revision))

    def wanted_groups(self, revision: str, replicas: int) -> int:
        """Count the groups, serving or not, that `replicas` of a revision are made of."""
        return sum(group.revision == revision and group.index < replicas for group in self.groups)


def observe(statefulsets: Iterable[Body], pods: Iterable[Body], deployments: Iterable[Body]) -> Observed:
    """Read the children of one LLMDeployment; those being deleted no longer count as groups."""
    groups = [_group(body) for body in statefulsets if not body["metadata"].get("deletionTimestamp")]
    return Observed(
        groups=tuple(sorted(groups, key=lambda group: group.name)),
        pods=tuple(sorted(map(_pod, pods), key=lambda pod: pod.name)),
        router_ready=sum(int(body.get("status", {}).get("readyReplicas") or 0) for body in deployments),
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
        pods=int(body["spec"].get("replicas", 1)),
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
