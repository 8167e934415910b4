"""One engine pod's body to a value, and what is wrong with it in its own words. Pure; used by `observe`."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from manta_operator.api import names
from manta_operator.planning.last_words import killed_words, last_words
from manta_operator.planning.observed import EngineEnd, ObservedPod

Body = Mapping[str, Any]
Object = dict[str, Any]

LOST_MARGIN_SECONDS = 60.0
"""A pod that is still there this long after its grace has ended will not go by itself: its node does not answer."""
_BENIGN = (None, "ContainerCreating", "PodInitializing")
_UNSCHEDULABLE = ("Unschedulable", "SchedulerError", "SchedulingGated")


def observe_pod(body: Body, now: float, lost_nodes: frozenset[str]) -> ObservedPod:
    """Read one pod.

    Args:
        body: The pod, whole or slim.
        now: Epoch seconds.
        lost_nodes: Nodes that nothing is to be expected of.
    """
    metadata, status = body["metadata"], body.get("status") or {}
    node = body["spec"].get("nodeName")
    deleting = bool(metadata.get("deletionTimestamp"))
    lost_at = (seconds(metadata.get("deletionTimestamp")) or 0.0) + LOST_MARGIN_SECONDS if deleting else None
    lost = node in lost_nodes or (lost_at is not None and now >= lost_at)
    ready, since = _condition(status, "Ready")
    serves = ready.get("status") == "True" and not deleting and not lost
    scheduled, waits_since = _condition(status, "PodScheduled")
    waits = scheduled.get("status") == "False" and scheduled.get("reason") in _UNSCHEDULABLE
    return ObservedPod(
        name=metadata["name"],
        group=metadata["name"].rpartition("-")[0],
        ready=serves,
        problem=pod_problem(status),
        uid=metadata.get("uid", ""),
        running=status.get("phase") == "Running",
        created=seconds(metadata.get("creationTimestamp")) or 0.0,
        started=seconds(status.get("startTime")),
        engine_started=_engine_started(_serving(status)),
        node=node,
        deleting=deleting,
        lost=lost,
        lost_at=lost_at,
        restarts=_restarts(status),
        ready_since=since if ready.get("status") == "True" else None,
        unready_since=since if ready.get("status") in ("False", "Unknown") else None,
        unschedulable_since=waits_since if waits else None,
        fetching=is_fetching(status) and not deleting,
        initialized=_initialized(status),
        end=engine_end(status),
        helper_ended=_helper_ended(status),
    )


def slim_pod(body: Body) -> Object:
    """Return what `observe_pod` reads of spec and status; metadata is the caller's."""
    status = body.get("status") or {}
    kept: Object = {name: status[name] for name in ("phase", "startTime") if name in status}
    told = ("type", "status", "reason", "message", "lastTransitionTime")
    kept["conditions"] = [
        {name: entry[name] for name in told if name in entry}
        for entry in status.get("conditions") or ()
        if entry["type"] in ("Initialized", "Ready", "PodScheduled")
    ]
    for name in ("initContainerStatuses", "containerStatuses"):
        if status.get(name):
            kept[name] = [_slim_container(entry) for entry in status[name]]
    return {"spec": {"nodeName": body["spec"].get("nodeName")}, "status": kept}


def _slim_container(entry: Body) -> Object:
    kept: Object = {name: entry.get(name) for name in ("name", "ready", "restartCount")}
    state = entry.get("state") or {}
    waiting, running = state.get("waiting"), state.get("running")
    if waiting:
        kept["state"] = {"waiting": {name: waiting[name] for name in ("reason", "message") if name in waiting}}
    elif running:
        kept["state"] = {"running": {"startedAt": running.get("startedAt")}}
    for moment in ("state", "lastState"):
        if terminated := (entry.get(moment) or {}).get("terminated"):
            told = {name: terminated[name] for name in ("exitCode", "reason", "finishedAt") if name in terminated}
            kept[moment] = {"terminated": told | {"message": last_words(terminated.get("message") or "")}}
    return kept


def engine_end(status: Body) -> EngineEnd | None:
    """Return how the engine container ended last, None while it is the first."""
    engine = next(
        (each for each in status.get("containerStatuses") or () if each.get("name") == names.COMPONENT_ENGINE), None
    )
    for moment in ("state", "lastState"):
        ended = ((engine or {}).get(moment) or {}).get("terminated")
        if ended and (at := seconds(ended.get("finishedAt"))) is not None:
            return EngineEnd(
                at=at,
                code=int(ended.get("exitCode") or 0),
                reason=str(ended.get("reason") or ""),
                said=last_words(ended.get("message") or ""),
            )
    return None


def pod_problem(status: Body) -> str | None:
    """Return why a pod does not run, in the words of the scheduler or the kubelet; None if nothing is wrong."""
    scheduled, _ = _condition(status, "PodScheduled")
    if scheduled.get("status") == "False":
        return f"{scheduled.get('reason')}: {scheduled.get('message')}"
    for container in _containers(status):
        waiting = (container.get("state") or {}).get("waiting")
        if waiting and waiting.get("reason") not in _BENIGN:
            text = f"{waiting['reason']}: {waiting.get('message') or container.get('name')}"
            last = ((container.get("lastState") or {}).get("terminated")) or {}
            if killed := killed_words(
                int(last.get("exitCode") or 0), last.get("reason") or "", last.get("message") or ""
            ):
                return f"{text}; it was {killed}"
            said = last_words(last.get("message") or "")
            return f"{text}; it last said: {said}" if said else text
    return None


def is_fetching(status: Body) -> bool:
    """Whether an init container that brings weights into the cache runs."""
    return any(
        entry.get("name") in names.FETCH_CONTAINERS and (entry.get("state") or {}).get("running")
        for entry in status.get("initContainerStatuses") or ()
    )


def _restarts(status: Body) -> int:
    """Return how often a container was restarted; one that prepared the pod and is done says nothing of the engine."""
    preparing = (entry for entry in status.get("initContainerStatuses") or () if _goes_on(entry.get("state") or {}))
    counted = [*preparing, *_serving(status)]
    return max((int(entry.get("restartCount") or 0) for entry in counted), default=0)


def _goes_on(state: Body) -> bool:
    return bool(state.get("waiting") or state.get("running"))


def _initialized(status: Body) -> float | None:
    """Return when the init containers had done their work."""
    condition, since = _condition(status, "Initialized")
    return since if condition.get("status") == "True" else None


def pod_state(body: Body) -> str:
    """Return how a pod is, in one word for people: Leaving, Ready, Fetching, or its phase."""
    status = body.get("status") or {}
    if body["metadata"].get("deletionTimestamp"):
        return "Leaving"
    if _condition(status, "Ready")[0].get("status") == "True":
        return "Ready"
    return "Fetching" if is_fetching(status) else str(status.get("phase", "Pending"))


def controller_uid(body: Body) -> str | None:
    """Return the uid of the object that controls this one; None where none does."""
    owners: Iterable[Body] = body["metadata"].get("ownerReferences") or ()
    return next((str(owner["uid"]) for owner in owners if owner.get("controller")), None)


def seconds(text: str | None) -> float | None:
    """Return a Kubernetes time as epoch seconds."""
    return datetime.fromisoformat(text).timestamp() if text else None


def _condition(status: Body, kind: str) -> tuple[Body, float | None]:
    entries = (entry for entry in status.get("conditions") or () if entry["type"] == kind)
    found: Body = next(entries, {})
    return found, seconds(found.get("lastTransitionTime"))


def _containers(status: Body) -> list[Body]:
    return [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]


def _serving(status: Body) -> list[Body]:
    """Return the containers that serve: what fetches adapters beside them says nothing of the engine."""
    containers = status.get("containerStatuses") or ()
    return [entry for entry in containers if entry.get("name") != names.ADAPTERS_CONTAINER]


def _helper_ended(status: Body) -> int | None:
    beside = [each for each in status.get("containerStatuses") or () if each.get("name") == names.ADAPTERS_CONTAINER]
    if not beside or beside[0].get("ready") or not all(entry.get("ready") for entry in _serving(status)):
        return None
    return int(beside[0].get("restartCount") or 0)


def _engine_started(containers: Iterable[Body]) -> float | None:
    times = [seconds(((entry.get("state") or {}).get("running") or {}).get("startedAt")) for entry in containers]
    known = [time for time in times if time is not None]
    return max(known) if known and len(known) == len(times) else None
