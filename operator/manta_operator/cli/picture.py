"""Bodies to what `manta status` shows: one summary a deployment, and the full picture of one. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from manta_operator.api import names
from manta_operator.planning.autoscale_off import TURNED_OFF
from manta_operator.planning.ends import describe
from manta_operator.planning.observe import pod_problem, pod_state
from manta_operator.planning.observe_pods import engine_end

Body = Mapping[str, Any]
EVENTS_SHOWN = 8
STALE = "Stale"


@dataclass(frozen=True)
class Summary:
    """One LLMDeployment in a line. `state` is one word: Ready, Deleting, Stale or why it is not ready.

    `bounds`: fewest and most replicas, where an autoscaler rules them; else None.
    """

    namespace: str
    name: str
    desired: int
    serving: int
    ready: bool
    state: str
    message: str
    created: str
    endpoint: str
    model: str
    accelerator: str
    revision: str
    bounds: tuple[int, int] | None = None


@dataclass(frozen=True)
class Pod:
    """One pod. `state` is one word: Ready, Leaving, or its phase."""

    name: str
    state: str
    restarts: int
    node: str
    address: str
    created: str
    problem: str


@dataclass(frozen=True)
class Replica:
    """One group: the StatefulSet and its pods, or pods whose StatefulSet has gone (`leaving`)."""

    name: str
    index: int
    revision: str
    current: bool
    size: int
    ready: int
    leaving: bool
    pods: tuple[Pod, ...]


@dataclass(frozen=True)
class Happened:
    """One event."""

    time: str
    type: str
    reason: str
    object: str
    message: str
    count: int


@dataclass(frozen=True)
class Picture:
    """Everything about one LLMDeployment; `unread` says in sentences what could not be read."""

    summary: Summary
    generation: int
    observed_generation: int
    plan: str
    conditions: tuple[Mapping[str, Any], ...]
    decisions: tuple[Mapping[str, Any], ...]
    fit: Mapping[str, Any]
    replicas: tuple[Replica, ...]
    router: tuple[Pod, ...]
    events: tuple[Happened, ...]
    adapters: tuple[Mapping[str, Any], ...] = ()
    engine: Mapping[str, Any] = field(default_factory=dict)
    autoscaling: Mapping[str, Any] = field(default_factory=dict)
    unread: tuple[str, ...] = ()


def summary(body: Body, service: Body | None = None) -> Summary:
    """Summarise one LLMDeployment; its Service, if known, tells where it is reached from here."""
    metadata, spec, status = body["metadata"], body.get("spec") or {}, body.get("status") or {}
    state, message = _state(body)
    return Summary(
        namespace=metadata.get("namespace", ""),
        name=metadata["name"],
        desired=desired(body),
        serving=int(status.get("readyReplicas") or 0),
        ready=state == "Ready",
        state=state,
        message=message,
        created=metadata.get("creationTimestamp", ""),
        endpoint=local_endpoint(service) or status.get("endpoint") or "",
        model=str((spec.get("model") or {}).get("uri", "")),
        accelerator=str((spec.get("accelerator") or {}).get("type", "")),
        revision=str(status.get("revision") or ""),
        bounds=bounds(body),
    )


def desired(body: Body) -> int:
    """Return how many replicas are asked for: by the autoscaler, or for a while by what it has left behind."""
    spec, said = body.get("spec") or {}, (body.get("status") or {}).get("autoscaling") or {}
    rules = "replicas" in said and (bounds(body) or said.get("reason") == TURNED_OFF)
    return int(said["replicas"] if rules else spec.get("replicas", 1))


def bounds(body: Body) -> tuple[int, int] | None:
    """Return the fewest and the most replicas of spec.autoscaling; None without it."""
    wish = (body.get("spec") or {}).get("autoscaling")
    return (int(wish.get("minReplicas", 1)), int(wish.get("maxReplicas", 1))) if wish else None


def picture(
    body: Body,
    statefulsets: Iterable[Body],
    pods: Iterable[Body],
    events: Iterable[Body],
    service: Body | None = None,
    unread: Sequence[str] = (),
) -> Picture:
    """Put together everything about one LLMDeployment."""
    status, pods, statefulsets = body.get("status") or {}, list(pods), list(statefulsets)
    shown = summary(body, service)
    router = [pod for pod in pods if _label(pod, names.LABEL_COMPONENT) == names.COMPONENT_ROUTER]
    engines = [pod for pod in pods if _label(pod, names.LABEL_COMPONENT) == names.COMPONENT_ENGINE]
    return Picture(
        summary=shown,
        generation=int(body["metadata"].get("generation") or 0),
        observed_generation=int(status.get("observedGeneration") or 0),
        plan=str(status.get("plan") or ""),
        conditions=tuple(status.get("conditions") or ()),
        decisions=tuple(status.get("decisions") or ()),
        fit=status.get("fit") or {},
        replicas=_replicas(statefulsets, engines, shown.revision),
        router=tuple(sorted((_pod(pod) for pod in router), key=lambda pod: pod.name)),
        events=_events(events, body["metadata"], set() if shown.ready else _unwell(statefulsets, pods)),
        adapters=tuple(status.get("adapters") or ()),
        engine=status.get("engine") or {},
        autoscaling=(status.get("autoscaling") or {}) if shown.bounds else {},
        unread=tuple(unread),
    )


def local_endpoint(service: Body | None) -> str:
    """Return the URL of a Service that this machine reaches at a loopback address, as a box's; else empty."""
    spec = (service or {}).get("spec") or {}
    address, ports = str(spec.get("clusterIP") or ""), spec.get("ports") or ()
    return f"http://{address}:{ports[0]['port']}/v1" if address.startswith("127.") and ports else ""


def age(stamp: str, now: datetime) -> str:
    """Return how long ago an RFC 3339 time was, as kubectl writes it: 45s, 12m, 3h, 5d; empty if there is none."""
    if not stamp:
        return ""
    seconds = max(0, int((now - datetime.fromisoformat(stamp).astimezone(UTC)).total_seconds()))
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length}{unit}"
    return f"{seconds}s"


def _state(body: Body) -> tuple[str, str]:
    metadata, status = body["metadata"], body.get("status") or {}
    conditions = {entry["type"]: entry for entry in status.get("conditions") or ()}
    ready, degraded = conditions.get("Ready", {}), conditions.get("Degraded", {})
    if metadata.get("deletionTimestamp"):
        held = ", ".join(metadata.get("finalizers") or ()) or "its children"
        return "Deleting", f"is being deleted and waits for {held}"
    seen, asked = int(status.get("observedGeneration") or 0), int(metadata.get("generation") or 0)
    if seen < asked:
        known = f"it has seen generation {seen}" if seen else "it has not seen it at all"
        return STALE, f"the operator has not looked at generation {asked} yet, {known}; is it running?"
    if ready.get("status") == "True":
        worse = degraded.get("message", "") if degraded.get("status") == "True" else ""
        return "Ready", str(worse or ready.get("message", ""))
    return str(ready.get("reason") or "Unknown"), str(ready.get("message", ""))


def _replicas(statefulsets: list[Body], pods: list[Body], revision: str) -> tuple[Replica, ...]:
    sets = {body["metadata"]["name"]: body for body in statefulsets}
    members: dict[str, list[Body]] = {name: [] for name in sets}
    for pod in pods:
        members.setdefault(pod["metadata"]["name"].rpartition("-")[0], []).append(pod)
    found = [_replica(name, sets.get(name), owned, revision) for name, owned in members.items()]
    return tuple(sorted(found, key=lambda each: (not each.current, each.index, each.name)))


def _replica(name: str, body: Body | None, pods: list[Body], revision: str) -> Replica:
    labelled: Body = body or pods[0]
    shown = sorted((_pod(pod) for pod in pods), key=lambda pod: pod.name)
    own = _label(labelled, names.LABEL_REVISION)
    return Replica(
        name=name,
        index=int(_label(labelled, names.LABEL_REPLICA) or 0),
        revision=own,
        current=own == revision,
        size=int(body["spec"].get("replicas") or 1) if body else len(pods),
        ready=sum(pod.state == "Ready" for pod in shown),
        leaving=body is None or bool(body["metadata"].get("deletionTimestamp")),
        pods=tuple(shown),
    )


def _pod(body: Body) -> Pod:
    metadata, status = body["metadata"], body.get("status") or {}
    return Pod(
        name=metadata["name"],
        state=pod_state(body),
        restarts=sum(int(each.get("restartCount") or 0) for each in status.get("containerStatuses") or ()),
        node=str((body.get("spec") or {}).get("nodeName") or ""),
        address=str(status.get("podIP") or ""),
        created=metadata.get("creationTimestamp", ""),
        problem=pod_problem(status) or _ended(status),
    )


def _ended(status: Body) -> str:
    """Say how the engine ended last while the pod is not back."""
    ready = any(each["type"] == "Ready" and each["status"] == "True" for each in status.get("conditions") or ())
    end = None if ready else engine_end(status)
    return f"starts again, its engine ended with code {end.code}: {describe(end)}" if end else ""


def _events(events: Iterable[Body], metadata: Body, unwell: set[str]) -> tuple[Happened, ...]:
    """Return the last events of the object and the last warning of each kind about a child that is not well."""
    related: dict[tuple[str, str, str], Happened] = {}
    for event in events:
        about = event.get("involvedObject") or {}
        own = about.get("uid") == metadata.get("uid")
        if own or (event.get("type") == "Warning" and about.get("name") in unwell):
            happened = _happened(event, about, own=own)
            key = (happened.object, happened.reason, happened.message if own else "")
            related[key] = max(happened, related.get(key, happened), key=lambda each: each.time)
    return tuple(sorted(related.values(), key=lambda each: each.time)[-EVENTS_SHOWN:])


def _unwell(statefulsets: list[Body], pods: list[Body]) -> set[str]:
    """Return the names of the children whose warnings matter still: sets, and pods that are not ready."""
    return {str(child["metadata"]["name"]) for child in (*statefulsets, *pods) if _pod(child).state != "Ready"}


def _happened(event: Body, about: Body, *, own: bool) -> Happened:
    series, metadata = event.get("series") or {}, event.get("metadata") or {}
    times = (series.get("lastObservedTime"), event.get("lastTimestamp"), event.get("eventTime"))
    return Happened(
        time=next((str(time) for time in times if time), str(metadata.get("creationTimestamp") or "")),
        type=str(event.get("type") or ""),
        reason=str(event.get("reason") or ""),
        object="" if own else f"{about.get('kind')}/{about.get('name')}",
        message=str(event.get("message") or ""),
        count=int(series.get("count") or event.get("count") or 1),
    )


def _label(body: Body, label: str) -> str:
    return str((body["metadata"].get("labels") or {}).get(label, ""))
