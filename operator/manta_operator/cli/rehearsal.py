"""A rollout played through on paper: the real plan, again and again, on bodies that do what is hoped for. Pure.

Every group that the plan wants serves in the next round, every group it takes away is gone and its place is free.
So what `manta plan --diff` tells of a rollout is what the operator decides, not a second description of it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from manta_operator.api import names
from manta_operator.api.models import LLMDeployment
from manta_operator.builders.desired import Desired, desire
from manta_operator.facts.accelerators import Accelerator
from manta_operator.facts.models import ModelFacts
from manta_operator.placement.room import Room
from manta_operator.planning.observe import observe
from manta_operator.planning.problems import Problem
from manta_operator.planning.rollout import Circumstances
from manta_operator.planning.search import Choice

Object = dict[str, Any]
_ROUND_SECONDS = 120.0
"""Long enough for a new group to count as serving, whatever the plan waits for besides."""
_ROUNDS_PER_GROUP = 3


@dataclass(frozen=True)
class Live:
    """The children as they are, and when they were looked at, in epoch seconds."""

    statefulsets: tuple[Object, ...]
    pods: tuple[Object, ...]
    deployments: tuple[Object, ...]
    now: float
    operator_namespace: str = names.OPERATOR_NAMESPACE


@dataclass(frozen=True)
class Step:
    """One round: the groups that are started and those that leave."""

    start: tuple[str, ...]
    leave: tuple[str, ...]


@dataclass(frozen=True)
class Rehearsal:
    """The first plan, the steps, and what it says in the end: settled or why it waits."""

    first: Desired
    steps: tuple[Step, ...]
    end: str


def rehearse(
    deployment: LLMDeployment,
    facts: ModelFacts | None,
    live: Live,
    previous: Choice | None = None,
    room: Room | None = None,
    *,
    unseen: str = "",
    extra: Mapping[str, Accelerator] | None = None,
) -> Rehearsal | tuple[Problem, ...]:
    """Play the rollout to its end, or return why nothing can be planned.

    Args:
        deployment: As it would be.
        facts: Of its checkpoint, as far as they are known here.
        live: What there is.
        previous: The decision that the status remembers.
        room: Places for groups of the new revision that are free now; None if that is not known.
        unseen: Why there are no facts, where somebody could say it.
        extra: Accelerators of a user's own, by type.
    """
    first: Desired | None = None
    steps: list[Step] = []
    while True:
        observed = observe(live.statefulsets, live.pods, live.deployments, now=live.now)
        observed = replace(observed, operator_namespace=live.operator_namespace)
        free = Circumstances(room=room)
        desired = desire(deployment, facts, observed, previous, free, unseen=unseen, extra=extra)
        if not isinstance(desired, Desired):
            return desired
        step = _step(desired, live)
        moves = bool(step.start or step.leave)
        # A first round without a step may only wait for what is starting already.
        if (first and not moves) or len(steps) > _ROUNDS_PER_GROUP * (deployment.spec.replicas + 10):
            return Rehearsal(first or desired, tuple(steps), desired.plan.rollout.message)
        first = first or desired
        steps += [step] * moves
        live = _after(desired, step, live)
        room = room and replace(room, groups=max(0, room.groups + len(step.leave) - len(step.start)))


def _step(desired: Desired, live: Live) -> Step:
    there = {body["metadata"]["name"] for body in live.statefulsets}
    wanted = [str(body["metadata"]["name"]) for body in desired.objects if body["kind"] == "StatefulSet"]
    leaving = tuple(group.name for group in desired.plan.prune if group.name in there)
    return Step(tuple(name for name in wanted if name not in there), leaving)


def _after(desired: Desired, step: Step, live: Live) -> Live:
    """Return the round that follows: every group of the revision serves since this one, and who leaves has left."""
    groups = {str(body["metadata"]["name"]): body for body in desired.objects if body["kind"] == "StatefulSet"}
    serving = {name: body for name, body in groups.items() if name not in step.leave}
    replaced = {*serving, *step.leave}
    kept = [body for body in live.statefulsets if body["metadata"]["name"] not in replaced]
    pods = [pod for pod in live.pods if pod["metadata"]["name"].rpartition("-")[0] not in replaced]
    for body in serving.values():
        kept.append(_served(body, live.now))
        pods += [_ready_pod(body, ordinal, live.now) for ordinal in range(int(body["spec"]["replicas"]))]
    return replace(live, statefulsets=tuple(kept), pods=tuple(pods), now=live.now + _ROUND_SECONDS)


def _served(body: Mapping[str, Any], now: float) -> Object:
    size = body["spec"]["replicas"]
    metadata = body["metadata"] | {"uid": body["metadata"]["name"], "generation": 1, "creationTimestamp": _stamp(now)}
    status = {"observedGeneration": 1, "replicas": size, "readyReplicas": size, "currentReplicas": size}
    return {**body, "metadata": metadata, "status": status}


def _ready_pod(body: Mapping[str, Any], ordinal: int, now: float) -> Object:
    name, template = f"{body['metadata']['name']}-{ordinal}", body["spec"]["template"]
    owner = {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": body["metadata"]["name"], "controller": True}
    metadata = {
        "name": name,
        "uid": name,
        "creationTimestamp": _stamp(now),
        "labels": template["metadata"]["labels"] | {names.LABEL_POD_INDEX: str(ordinal)},
        "ownerReferences": [owner | {"uid": body["metadata"]["name"]}],
    }
    conditions = [
        {"type": kind, "status": "True", "lastTransitionTime": _stamp(now)} for kind in ("PodScheduled", "Ready")
    ]
    running = [
        {"name": each["name"], "ready": True, "restartCount": 0, "state": {"running": {"startedAt": _stamp(now)}}}
        for each in template["spec"]["containers"]
    ]
    status = {"phase": "Running", "startTime": _stamp(now), "conditions": conditions, "containerStatuses": running}
    return {"metadata": metadata, "spec": {"nodeName": "rehearsal", **template["spec"]}, "status": status}


def _stamp(now: float) -> str:
    return datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def sentences(steps: Sequence[Step], limit: int = 12) -> list[str]:
    """Return the steps in words, the middle of a long list left out."""
    before = (None, *steps)
    lines = [f"{number}. {_words(step, before[number - 1])}" for number, step in enumerate(steps, start=1)]
    if len(lines) <= limit:
        return lines
    left_out = len(lines) - limit
    return [*lines[: limit - 1], f"... {left_out} more in the same way", lines[-1]]


def _words(step: Step, before: Step | None) -> str:
    parts = [f"start {', '.join(step.start)}"] if step.start else []
    parts += [f"drain and remove {', '.join(step.leave)}"] if step.leave else []
    when = "" if before is None else "once they serve: " if before.start else "once they have left: "
    return when + "; ".join(parts)
