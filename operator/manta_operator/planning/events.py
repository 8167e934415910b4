"""What is worth an event: the transitions between two statuses of an LLMDeployment. Pure.

Both statuses are as they stand in the object, so a transition is told once: the next pass, and the next operator, see
it in the status already. The controller publishes what comes out after it has written the status.

An event is for what somebody acts on, or looks for afterwards: what stops serving or comes back, what a rollout did,
what is refused. What merely is so stands in the conditions, which `kubectl describe` shows beside the events.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from manta_operator.planning.observe_pods import seconds

Status = Mapping[str, Any]


@dataclass(frozen=True)
class Event:
    """One event, as `kubectl get events` shows it."""

    type: Literal["Normal", "Warning"]
    reason: str
    message: str


_BAD_WHEN: Mapping[str, str] = {
    "Planned": "False",
    "ModelAvailable": "False",
    "Reconciled": "False",
    "Degraded": "True",
    "Integrated": "False",
    "EngineAsPlanned": "False",
    "AdaptersLoaded": "False",
    "Autoscaled": "False",
}
"""Conditions whose turn to the worse is told, and the status that is worse."""
_HEALED: Mapping[str, str] = {"Degraded": "Recovered", "Reconciled": "Reconciled"}
"""Of those, the ones whose turn to the better is told, too, and what it is called."""
_OF_THE_SPEC = "Planned"
"""The condition that is about the spec alone: a new spec that is wrong in another way is news."""
_PASSING = frozenset({"Transient", "NamespaceTerminating", "Loading"})
"""Reasons that nobody has to act on: it passes by itself."""
_WAITING, _DONE = "NoRoom", "Settled"
_SCALING = frozenset({"Starting", "ScalingDown"})
"""From these an autoscaled deployment settles many times a day; each change of its number is told already."""
_ADAPTER_FAILED = "AdapterFailed"
_SHOWN = 3
_ACTS: Mapping[str, Literal["Normal", "Warning"]] = {
    "Restarting": "Warning",
    "Replacing": "Warning",
    "ScalingDown": "Normal",
}
"""Decisions that are told when they are new."""
RECENT_SECONDS = 3600.0
"""API servers keep an event for an hour: what an operator first hears of later than that is no news to anybody."""


def events(before: Status, after: Status, now: float) -> tuple[Event, ...]:
    """Return what happened between two statuses of one object; nothing if nothing worth telling did.

    Args:
        before: The status that stood there; empty for a new object.
        after: The status that has been written.
        now: Epoch seconds.
    """
    return (
        *_turns(before, after),
        *_adapters(before, after),
        *_availability(before, after),
        *_rollout(before, after),
        *_acts(before, after),
        *_scaled(before, after),
        *_ends(before, after, now),
    )


def _turns(before: Status, after: Status) -> Iterator[Event]:
    """Tell what got worse, or is bad for another reason, and what recovered."""
    old, new = _conditions(before), _conditions(after)
    for kind, bad in _BAD_WHEN.items():
        now, then = new.get(kind, {}), old.get(kind, {})
        was_told = then.get("status") == bad and then.get("reason") not in _PASSING
        if now.get("status") == bad and now["reason"] not in _PASSING:
            again = kind == _OF_THE_SPEC and _respecified(then, now)
            if not was_told or then["reason"] != now["reason"] or again:
                yield Event("Warning", now["reason"], now["message"])
        elif was_told and kind in _HEALED and now.get("status") not in (None, "Unknown", bad):
            yield Event("Normal", _HEALED[kind], now["message"])


def _respecified(then: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    """Whether a new spec is wrong in other words than the one before."""
    newer = then.get("observedGeneration") != now.get("observedGeneration")
    return newer and then.get("message") != now.get("message")


def _adapters(before: Status, after: Status) -> Iterator[Event]:
    """Tell which adapters fail now beside those that did already; of the first ones the condition's turn tells."""
    now, then = _conditions(after).get("AdaptersLoaded", {}), _conditions(before).get("AdaptersLoaded", {})
    if not now.get("reason") == then.get("reason") == _ADAPTER_FAILED:
        return
    newer, old = then.get("observedGeneration") != now.get("observedGeneration"), _failed(before)
    said = [words for name, words in _failed(after).items() if name not in old or (newer and old[name] != words)]
    if said:
        more = f"; and {len(said) - _SHOWN} more" if len(said) > _SHOWN else ""
        yield Event("Warning", _ADAPTER_FAILED, f"{'; '.join(said[:_SHOWN])}{more}")


def _failed(status: Status) -> dict[str, str]:
    """Return what is said of each adapter that fails somewhere, by its name; its replicas in trouble come first."""
    found = {}
    for adapter in status.get("adapters") or ():
        row = next((each for each in adapter.get("replicas") or () if each["state"] == "Failed"), None)
        if row is not None:
            words = f": {row['message']}" if row.get("message") else ""
            found[adapter["name"]] = f"{adapter['name']} is Failed on pod {row['pod']}{words}"
    return found


def _availability(before: Status, after: Status) -> Iterator[Event]:
    now, then = _conditions(after).get("Available", {}), _conditions(before).get("Available", {})
    if now.get("status") == "True" and then.get("status") != "True":
        yield Event("Normal", now["reason"], now["message"])
    if now.get("status") == "False" and then.get("status") == "True":
        wanted = now["reason"] == "ScaledToZero"
        if wanted and after.get("autoscaling"):
            return  # that was told when it was decided
        yield Event("Normal" if wanted else "Warning", now["reason"], now["message"])


def _rollout(before: Status, after: Status) -> Iterator[Event]:
    """Tell the beginning of a rollout, that it waits, and when all is done. That it failed is a turn of Degraded."""
    now, then = _conditions(after).get("Progressing", {}), _conditions(before).get("Progressing", {})
    old, new = before.get("revision"), after.get("revision")
    if old and new and old != new:
        yield Event("Normal", "RollingOut", f"revision {new} takes the place of {old}")
    if now.get("reason") == _WAITING and then.get("reason") != _WAITING:
        yield Event("Warning", _WAITING, now["message"])
    scaled = then.get("reason") in _SCALING and bool((after.get("autoscaling") or {}).get("changes"))
    if now.get("reason") == _DONE and then.get("reason", _DONE) != _DONE and not scaled:
        yield Event("Normal", _DONE, now["message"])


def _acts(before: Status, after: Status) -> Iterator[Event]:
    told = {decision["message"] for decision in before.get("decisions") or ()}
    for decision in after.get("decisions") or ():
        if decision["reason"] in _ACTS and decision["message"] not in told:
            yield Event(_ACTS[decision["reason"]], decision["reason"], decision["message"])


def _scaled(before: Status, after: Status) -> Iterator[Event]:
    """Tell what the autoscaler has changed, in the order in which it did."""
    then, now = before.get("autoscaling") or {}, after.get("autoscaling") or {}
    told = [_which(change) for change in then.get("changes") or ()]
    for change in reversed(now.get("changes") or ()):
        if _which(change) not in told:
            old, new = change["fromReplicas"], change["toReplicas"]
            kind = "ScaledToZero" if not new else "Woken" if not old else "ScaledUp" if new > old else "ScaledDown"
            yield Event("Normal", kind, change.get("message") or f"from {old} to {new} replicas")


def _which(change: Mapping[str, Any]) -> tuple[Any, ...]:
    return (change["time"], change["fromReplicas"], change["toReplicas"])


def _ends(before: Status, after: Status, now: float) -> Iterator[Event]:
    told = {(entry["pod"], entry["time"]) for entry in before.get("engineEnds") or ()}
    for entry in after.get("engineEnds") or ():
        recent = now - (seconds(entry["time"]) or 0.0) < RECENT_SECONDS
        if recent and (entry["pod"], entry["time"]) not in told:
            words = f"its engine ended with code {entry['exitCode']}: {entry['message']}"
            yield Event("Warning", "EngineEnded", f"replica {entry['replica']}, pod {entry['pod']}: {words}")


def _conditions(status: Status) -> dict[str, Mapping[str, Any]]:
    return {entry["type"]: entry for entry in status.get("conditions") or ()}
