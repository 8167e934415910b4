"""A pod in one line, as `kubectl get pods` shows it. The rules are those of kubectl's printer. Used by `columns`."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from manta_operator.box.apiserver.durations import duration, parse
from manta_operator.box.cluster import Object


@dataclass(frozen=True)
class _Init:
    """What the init containers add: a reason if they are not through, and the sidecars among them."""

    reason: str | None
    sidecars: list[Any]
    ready_sidecars: int


def ready(pod: Object, _now: datetime) -> str:
    """Return the READY cell: containers that are ready of all, sidecars included."""
    init = _init(pod)
    statuses = [] if init.reason and not _condition(pod, "Initialized") else _statuses(pod, "containerStatuses")
    count = init.ready_sidecars + sum(bool(one.get("ready") and _state(one, "running") is not None) for one in statuses)
    return f"{count}/{len(pod['spec'].get('containers') or ()) + len(_sidecars(pod))}"


def status(pod: Object, _now: datetime) -> str:
    """Return the STATUS cell: the phase, or the reason that says more (CrashLoopBackOff, Init:0/1, Terminating …)."""
    observed = pod.get("status") or {}
    if pod["metadata"].get("deletionTimestamp"):
        if observed.get("reason") == "NodeLost":
            return "Unknown"
        if observed.get("phase") not in ("Succeeded", "Failed"):
            return "Terminating"
    init = _init(pod)
    if init.reason and not _condition(pod, "Initialized"):
        return init.reason
    reason = init.reason or str(observed.get("reason") or observed.get("phase") or "Unknown")
    if _scheduling_gated(pod):
        reason = "SchedulingGated"
    statuses = _statuses(pod, "containerStatuses")
    reason = next(filter(None, map(_container_reason, statuses)), reason)
    if reason == "Completed" and any(one.get("ready") and _state(one, "running") is not None for one in statuses):
        return "Running" if _condition(pod, "Ready") else "NotReady"
    return reason


def restarts(pod: Object, now: datetime) -> str:
    """Return the RESTARTS cell: `0`, or `3 (20s ago)`."""
    init = _init(pod)
    counted = _statuses(pod, "initContainerStatuses")
    if not init.reason or _condition(pod, "Initialized"):
        counted = [*init.sidecars, *_statuses(pod, "containerStatuses")]
    count = sum(one.get("restartCount", 0) for one in counted)
    ends = ((one.get("lastState") or {}).get("terminated") or {} for one in counted)
    moments = [moment for end in ends if (moment := parse(end.get("finishedAt")))]
    if not count or not moments:
        return str(count)
    return f"{count} ({duration((now - max(moments)).total_seconds())} ago)"


def readiness_gates(pod: Object, _now: datetime) -> str:
    """Return the READINESS GATES cell of the wide output."""
    gates = [gate["conditionType"] for gate in pod["spec"].get("readinessGates") or ()]
    return f"{sum(_condition(pod, gate) for gate in gates)}/{len(gates)}" if gates else "<none>"


def _init(pod: Object) -> _Init:
    sidecars = _sidecars(pod)
    reason, ready_sidecars = None, 0
    statuses = _statuses(pod, "initContainerStatuses")
    for index, one in enumerate(statuses):
        is_sidecar = one["name"] in sidecars
        ended, waiting = _state(one, "terminated"), _state(one, "waiting")
        if ended is not None and not ended.get("exitCode"):
            continue
        if is_sidecar and one.get("started"):
            ready_sidecars += bool(one.get("ready"))
            continue
        if ended is not None:
            reason = f"Init:{_end_reason(ended)}"
        elif waiting and waiting.get("reason") not in (None, "", "PodInitializing"):
            reason = f"Init:{waiting['reason']}"
        else:
            reason = f"Init:{index}/{len(pod['spec'].get('initContainers') or ())}"
        break
    return _Init(reason, [one for one in statuses if one["name"] in sidecars], ready_sidecars)


def _sidecars(pod: Object) -> set[str]:
    return {one["name"] for one in pod["spec"].get("initContainers") or () if one.get("restartPolicy") == "Always"}


def _statuses(pod: Object, field: str) -> list[Any]:
    return list((pod.get("status") or {}).get(field) or ())


def _state(container: Any, name: str) -> Any:
    return (container.get("state") or {}).get(name)


def _container_reason(container: Any) -> str | None:
    waiting, ended = _state(container, "waiting"), _state(container, "terminated")
    if waiting and waiting.get("reason"):
        return str(waiting["reason"])
    return None if ended is None else _end_reason(ended)


def _end_reason(ended: Any) -> str:
    if ended.get("reason"):
        return str(ended["reason"])
    return f"Signal:{ended['signal']}" if ended.get("signal") else f"ExitCode:{ended.get('exitCode', 0)}"


def _conditions(pod: Object) -> Iterator[Any]:
    yield from (pod.get("status") or {}).get("conditions") or ()


def _condition(pod: Object, kind: str) -> bool:
    return any(one.get("type") == kind and one.get("status") == "True" for one in _conditions(pod))


def _scheduling_gated(pod: Object) -> bool:
    return any(one.get("type") == "PodScheduled" and one.get("reason") == "SchedulingGated" for one in _conditions(pod))
