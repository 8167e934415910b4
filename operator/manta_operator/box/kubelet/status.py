"""Observed containers → pod status. Pure; `pod_worker.py` writes the result when it differs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Body = dict[str, Any]


@dataclass(frozen=True)
class Waiting:
    """Not running; `reason` is one CamelCase word."""

    reason: str
    message: str = ""


@dataclass(frozen=True)
class Running:
    """The process is there since `started_at` (RFC 3339)."""

    started_at: str


@dataclass(frozen=True)
class Terminated:
    """It ended. `exit_code` is 128 + n after signal n."""

    exit_code: int
    reason: str
    message: str
    started_at: str
    finished_at: str
    container_id: str


State = Waiting | Running | Terminated


@dataclass(frozen=True)
class ContainerView:
    """One container, as the kubelet sees it now."""

    name: str
    image: str
    state: State
    last: Terminated | None = None
    container_id: str = ""
    restarts: int = 0
    started: bool = False
    ready: bool = False
    done: bool = False
    """It ended and will not be started again."""


@dataclass(frozen=True)
class PodView:
    """One pod, as the kubelet sees it now."""

    pod_ip: str
    host_ip: str
    start_time: str
    init: Sequence[ContainerView]
    containers: Sequence[ContainerView]
    sidecars: frozenset[str] = frozenset()
    """Names of init containers that keep running."""
    terminating: bool = False


def pod_status(view: PodView, conditions: Sequence[Mapping[str, Any]], gates: Sequence[str], now: str) -> Body:
    """The status patch of a pod. `conditions` are the stored ones: other writers' are kept, ours keep their times.

    `gates` are the condition types of spec.readinessGates.
    """
    phase = _phase(view)
    return {
        "phase": phase,
        "hostIP": view.host_ip,
        "hostIPs": [{"ip": view.host_ip}],
        **({"podIP": view.pod_ip, "podIPs": [{"ip": view.pod_ip}]} if view.pod_ip else {}),
        "startTime": view.start_time,
        "conditions": _merge(conditions, _conditions(view, phase, conditions, gates), now),
        "initContainerStatuses": [_container_status(c, init=True) for c in view.init],
        "containerStatuses": [_container_status(c, init=False) for c in view.containers],
    }


def _initialized(view: PodView) -> bool:
    return all(
        c.started if c.name in view.sidecars else isinstance(c.state, Terminated) and c.state.exit_code == 0
        for c in view.init
    )


def _phase(view: PodView) -> str:
    failed_init = [c for c in view.init if c.done and c.name not in view.sidecars and _code(c) != 0]
    if failed_init:
        return "Failed"
    if view.containers and all(c.done for c in view.containers):
        return "Failed" if any(_code(c) != 0 for c in view.containers) else "Succeeded"
    begun = all(isinstance(c.state, Running | Terminated) or c.last is not None for c in view.containers)
    return "Running" if begun and _initialized(view) else "Pending"


def _code(container: ContainerView) -> int:
    return container.state.exit_code if isinstance(container.state, Terminated) else 0


def _conditions(
    view: PodView, phase: str, stored: Sequence[Mapping[str, Any]], gates: Sequence[str]
) -> list[tuple[str, bool, str, str]]:
    """(type, holds, reason, message) for each condition the kubelet owns."""
    initialized = _initialized(view)
    if phase in ("Succeeded", "Failed"):
        reason = "PodCompleted" if phase == "Succeeded" else "PodFailed"
        return [
            ("Initialized", initialized, reason if initialized else "ContainersNotInitialized", ""),
            ("ContainersReady", False, reason, ""),
            ("Ready", False, reason, ""),
        ]
    waiting_init = [c.name for c in view.init if not (c.done or c.started)]
    unready = [c.name for c in view.containers if not c.ready]
    init_message = f"containers with incomplete status: [{' '.join(waiting_init)}]" if not initialized else ""
    message = f"containers with unready status: [{' '.join(unready)}]" if unready else ""
    ready = ("ContainersReady", not unready, "ContainersNotReady", message)
    held = {c["type"] for c in stored if c.get("status") == "True"}
    closed = [gate for gate in gates if gate not in held]
    if view.terminating:
        pod_ready = ("Ready", False, "PodTerminating", "the pod is being deleted")
    elif not unready and closed:
        pod_ready = ("Ready", False, "ReadinessGatesNotReady", f"conditions not True: {', '.join(closed)}")
    else:
        pod_ready = ("Ready", not unready, "ContainersNotReady", message)
    return [("Initialized", initialized, "ContainersNotInitialized", init_message), ready, pod_ready]


def _merge(stored: Sequence[Mapping[str, Any]], ours: Sequence[tuple[str, bool, str, str]], now: str) -> list[Body]:
    """Conditions with ours replaced in place; lastTransitionTime changes only when the status does."""
    merged = {str(c["type"]): dict(c) for c in stored}
    for type_, holds, reason, message in ours:
        status = "True" if holds else "False"
        old = merged.get(type_, {})
        since = old.get("lastTransitionTime") if old.get("status") == status else None
        body: Body = {"type": type_, "status": status, "lastTransitionTime": since or now}
        if not holds:
            body["reason"] = reason
        if not holds and message:
            body["message"] = message
        merged[type_] = body
    return list(merged.values())


def _container_status(view: ContainerView, *, init: bool) -> Body:
    completed_init = init and isinstance(view.state, Terminated) and view.state.exit_code == 0
    return {
        "name": view.name,
        "image": view.image,
        "imageID": f"box://{view.image}" if view.container_id else "",
        "containerID": f"box://{view.container_id}" if view.container_id else "",
        "state": _state(view.state),
        "lastState": _state(view.last) if view.last else {},
        "restartCount": view.restarts,
        "ready": view.ready or completed_init,
        "started": view.started,
    }


def _state(state: State) -> Body:
    match state:
        case Waiting():
            return {"waiting": _some(reason=state.reason, message=state.message)}
        case Running():
            return {"running": {"startedAt": state.started_at}}
        case Terminated():
            ended = _some(
                reason=state.reason,
                message=state.message,
                startedAt=state.started_at,
                finishedAt=state.finished_at,
                containerID=f"box://{state.container_id}",
            )
            signal = {"signal": state.exit_code - 128} if state.exit_code > 128 else {}
            return {"terminated": {"exitCode": state.exit_code, **signal, **ended}}


def _some(**values: str) -> Body:
    return {name: value for name, value in values.items() if value}
