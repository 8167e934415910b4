"""Child bodies to values: what the cluster has, as the plan needs to see it. Pure.

The controller keeps the children of every deployment as `slim` leaves them, and hands them in; nothing here asks the
API server. Whether a group serves is read from its pods alone: the status of its StatefulSet follows them with a
delay, so it is not even kept. What is read:

    StatefulSet  metadata: name, uid, labels, annotations (manta.dev/restart), creationTimestamp, deletionTimestamp,
                 ownerReferences; spec.replicas
    Pod          metadata: name, uid, labels, creationTimestamp, deletionTimestamp, ownerReferences; spec.nodeName;
                 status: phase, startTime, conditions Initialized, Ready and PodScheduled,
                 (init)containerStatuses: name, restartCount, state, what the last one said as it ended
    Deployment   metadata: name, uid, labels, deletionTimestamp, ownerReferences; status.readyReplicas
    HTTPRoute    metadata: the same and generation; the rest says `observe_route`
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from manta_operator.api import names
from manta_operator.planning.integrations import HTTP_ROUTE
from manta_operator.planning.observe_pods import (
    controller_uid,
    observe_pod,
    pod_problem,
    pod_state,
    seconds,
    slim_pod,
)
from manta_operator.planning.observe_route import slim_route
from manta_operator.planning.observed import (
    GroupRestart,
    LeavingGroup,
    Observed,
    ObservedGroup,
    ObservedPod,
    ObservedRouter,
)

__all__ = [
    "GroupRestart",
    "LeavingGroup",
    "Observed",
    "ObservedGroup",
    "ObservedPod",
    "ObservedRouter",
    "observe",
    "pod_problem",
    "pod_state",
    "slim",
]

Body = Mapping[str, Any]
Object = dict[str, Any]

_METADATA = ("name", "uid", "creationTimestamp", "deletionTimestamp")
_LABELS = (names.LABEL_DEPLOYMENT, names.LABEL_COMPONENT, names.LABEL_REVISION, names.LABEL_REPLICA)
_OWNER = ("apiVersion", "kind", "name", "uid", "controller")


def slim(kind: str, body: Body) -> Object:
    """Return the part of a child that `observe` reads; `observe` says the same of it as of the whole body.

    Args:
        kind: StatefulSet, Pod, Deployment or HTTPRoute.
        body: The child as the API server returns it.
    """
    metadata: Object = {name: body["metadata"][name] for name in _METADATA if name in body["metadata"]}
    labels = body["metadata"].get("labels") or {}
    metadata["labels"] = {name: labels[name] for name in _LABELS if name in labels}
    owners = body["metadata"].get("ownerReferences") or ()
    metadata["ownerReferences"] = [{name: owner[name] for name in _OWNER if name in owner} for owner in owners]
    if kind == "Pod":
        return {"metadata": metadata} | slim_pod(body)
    if kind == "Deployment":
        return {"metadata": metadata, "status": {"readyReplicas": _ready_replicas(body)}}
    if kind == HTTP_ROUTE.kind:
        metadata["generation"] = body["metadata"].get("generation")
        return {"metadata": metadata} | slim_route(body)
    annotation = (body["metadata"].get("annotations") or {}).get(names.ANNOTATION_RESTART)
    if annotation is not None:
        metadata["annotations"] = {names.ANNOTATION_RESTART: annotation}
    return {"metadata": metadata, "spec": {"replicas": body["spec"].get("replicas")}}


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
        lost_nodes: Nodes that are gone or not ready for too long (`placement.nodes.lost_nodes`).
    """
    bodies = [body for body in statefulsets if not body["metadata"].get("deletionTimestamp")]
    live = {body["metadata"]["name"]: body["metadata"]["uid"] for body in bodies}
    members: dict[str, list[ObservedPod]] = {name: [] for name in live}
    strays: dict[str, list[tuple[Body, ObservedPod]]] = {}
    for body in pods:
        pod = observe_pod(body, now, lost_nodes)
        if pod.group in live and controller_uid(body) in (None, live[pod.group]):
            members[pod.group].append(pod)
        else:
            strays.setdefault(pod.group, []).append((body, pod))
    routers = tuple(sorted(map(_router, deployments), key=lambda router: router.name))
    groups = [_group(body, members[body["metadata"]["name"]]) for body in bodies]
    everyone = [pod for them in members.values() for pod in them] + [pod for them in strays.values() for _, pod in them]
    return Observed(
        groups=tuple(sorted(groups, key=lambda group: group.name)),
        pods=tuple(sorted(everyone, key=lambda pod: (pod.name, pod.uid))),
        router_ready=sum(router.ready for router in routers),
        routers=routers,
        leaving=tuple(_leaving(name, strays[name]) for name in sorted(strays)),
        now=now,
    )


def _router(body: Body) -> ObservedRouter:
    return ObservedRouter(
        body["metadata"]["name"], _ready_replicas(body), bool(body["metadata"].get("deletionTimestamp"))
    )


def _group(body: Body, members: list[ObservedPod]) -> ObservedGroup:
    metadata = body["metadata"]
    return ObservedGroup(
        name=metadata["name"],
        uid=metadata["uid"],
        revision=_label(body, names.LABEL_REVISION, ""),
        index=_index(body),
        pods=int(body["spec"].get("replicas") or 1),
        ready_pods=sum(pod.ready for pod in members),
        created=seconds(metadata.get("creationTimestamp")) or 0.0,
        restart=_restart((metadata.get("annotations") or {}).get(names.ANNOTATION_RESTART)),
        members=tuple(sorted(members, key=lambda pod: pod.name)),
    )


def _index(body: Body) -> int:
    """Read the replica's number; from the name where somebody made another label of it."""
    found = (_label(body, names.LABEL_REPLICA, ""), body["metadata"]["name"].rpartition("-")[2])
    return next((int(text) for text in found if text.isascii() and text.isdigit()), 0)


def _leaving(name: str, pods: list[tuple[Body, ObservedPod]]) -> LeavingGroup:
    """A pod that nobody controls or deleted does not leave: its StatefulSet was deleted with --cascade=orphan."""
    stays = all(pod.lost or (controller_uid(body) is None and not pod.deleting) for body, pod in pods)
    return LeavingGroup(name, _label(pods[0][0], names.LABEL_REVISION, ""), stays)


def _restart(annotation: str | None) -> GroupRestart | None:
    """Read what health wrote; what somebody else made of it counts as nothing."""
    try:
        value = json.loads(annotation or "")
        return GroupRestart(int(value["count"]), seconds(value["at"]) or 0.0)
    except (ValueError, TypeError, KeyError, OverflowError):
        return None


def _label(body: Body, name: str, default: str) -> str:
    return str((body["metadata"].get("labels") or {}).get(name, default))


def _ready_replicas(body: Body) -> int:
    return int((body.get("status") or {}).get("readyReplicas") or 0)
