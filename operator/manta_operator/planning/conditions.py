"""The conditions of an LLMDeployment: an ordered list of small checks over what was gathered before. Pure.

    Planned      the spec can be served, as far as can be known before a pod starts
    Progressing  the cluster is on its way to what the plan asks for
    Available    clients get answers: a router and at least one replica serve
    Ready        everything asked for serves, at the newest revision

Types are adjectives, reasons one CamelCase word, messages sentences with numbers (Kubernetes API conventions).
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from manta_operator.planning.observe import Observed
from manta_operator.planning.plan import Plan
from manta_operator.planning.problems import Problem

Status = Literal["True", "False", "Unknown"]


@dataclass(frozen=True)
class Situation:
    """Everything a check may read. No `plan`: the spec cannot be planned; `failure`: what an API call said."""

    replicas: int
    router_replicas: int
    plan: Plan | None
    problems: tuple[Problem, ...]
    observed: Observed
    failure: tuple[str, str] | None = None


@dataclass(frozen=True)
class Condition:
    """One condition, without its times."""

    type: str
    status: Status
    reason: str
    message: str


def conditions(situation: Situation) -> tuple[Condition, ...]:
    """Judge the situation, one condition a check, in the order they are read by people."""
    return tuple(check(situation) for check in _CHECKS)


def _planned(situation: Situation) -> Condition:
    if situation.problems:
        return Condition("Planned", "False", "InvalidSpec", "; ".join(map(str, situation.problems)))
    if situation.plan is None:
        return Condition("Planned", "Unknown", "NotPlannedYet", "no plan has been made yet")
    return Condition("Planned", "True", "Planned", f"{situation.plan.shape}; {situation.plan.fit.message}")


def _progressing(situation: Situation) -> Condition:
    if situation.failure:
        reason, message = situation.failure
        return Condition("Progressing", "False", reason, message)
    if situation.plan is None:
        return Condition("Progressing", "False", "NotPlanned", "nothing is changed until the spec can be planned")
    serving = situation.observed.ready_groups(situation.plan.revision)
    leaving = len(situation.observed.groups) - situation.observed.wanted_groups(
        situation.plan.revision, situation.replicas
    )
    if serving >= situation.replicas and leaving:
        return Condition("Progressing", "True", "Pruning", f"{_count(leaving, 'replica')} of before still to leave")
    if serving >= situation.replicas:
        return Condition("Progressing", "False", "Settled", "everything that was asked for exists, and nothing else")
    waiting = f"{serving} of {situation.replicas} replicas of revision {situation.plan.revision} serve"
    return Condition("Progressing", "True", "Starting", _with_pod_problems(waiting, situation.observed))


def _available(situation: Situation) -> Condition:
    serving, routers = situation.observed.ready_groups(), situation.observed.router_ready
    if serving and routers:
        return Condition(
            "Available", "True", "Serving", f"{_count(serving, 'replica')} and {_count(routers, 'router')} serve"
        )
    if situation.replicas == 0 and not serving:
        return Condition("Available", "False", "ScaledToZero", "0 replicas are asked for")
    missing = "no replica serves" if routers else "no router serves" if serving else "no replica and no router serve"
    return Condition("Available", "False", "NotServing", _with_pod_problems(f"{missing} yet", situation.observed))


def _ready(situation: Situation) -> Condition:
    first = next((check(situation) for check in (_planned, _progressing) if _blocks(check(situation))), None)
    if first is not None:
        return Condition("Ready", "False", first.reason, first.message)
    if situation.observed.router_ready < situation.router_replicas:
        message = f"{situation.observed.router_ready} of {situation.router_replicas} routers serve"
        return Condition("Ready", "False", "RouterNotReady", message)
    if situation.replicas == 0:
        return Condition("Ready", "True", "ScaledToZero", "0 replicas are asked for, and the router answers")
    serving = f"{'all ' if situation.replicas > 1 else ''}{_count(situation.replicas, 'replica')}"
    return Condition("Ready", "True", "AllServing", f"{serving} and the router serve")


def _blocks(condition: Condition) -> bool:
    if condition.type == "Planned":
        return condition.status != "True"
    return condition.reason != "Settled"


def _with_pod_problems(text: str, observed: Observed) -> str:
    problems = [f"pod {pod.name}: {pod.problem}" for pod in observed.pods if pod.problem]
    return "; ".join([text, *problems[:3]])


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


_CHECKS: tuple[Callable[[Situation], Condition], ...] = (_planned, _progressing, _available, _ready)


def merge(
    new: Iterable[Condition], old: Iterable[Mapping[str, Any]], generation: int, now: str
) -> list[dict[str, Any]]:
    """Return the conditions as they stand in the status; `lastTransitionTime` moves only when the status does.

    Args:
        new: What was judged now.
        old: What the status says.
        generation: metadata.generation that was judged.
        now: RFC 3339 time in UTC, seconds.
    """
    before = {entry.get("type"): entry for entry in old}
    return [_entry(condition, before.get(condition.type), generation, now) for condition in new]


def _entry(condition: Condition, before: Mapping[str, Any] | None, generation: int, now: str) -> dict[str, Any]:
    unchanged = before is not None and before.get("status") == condition.status
    since = before.get("lastTransitionTime") if before is not None and unchanged else None
    return {
        "type": condition.type,
        "status": condition.status,
        "reason": condition.reason,
        "message": condition.message,
        "observedGeneration": generation,
        "lastTransitionTime": since or now,
    }
