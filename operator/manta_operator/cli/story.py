"""What happened, in sentences: two snapshots of the cluster in, the lines a person wants to read out. Pure.

`manta up` and the demo show these while they wait; `watch.py` takes the snapshots.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from manta_operator.api import names
from manta_operator.cli.picture import desired
from manta_operator.planning.observe import pod_problem, pod_state

Body = Mapping[str, Any]


@dataclass(frozen=True)
class PodView:
    """One pod as a person sees it: `state` is Pending, Fetching, Running, Ready or Leaving."""

    name: str
    namespace: str
    deployment: str
    container: str
    address: str
    state: str
    restarts: int
    problem: str | None


@dataclass(frozen=True)
class DeploymentView:
    """One LLMDeployment as a person sees it."""

    name: str
    desired: int
    ready: int
    is_ready: bool
    reason: str
    message: str
    decisions: tuple[str, ...]
    scaled: tuple[tuple[str, str], ...] = ()
    """Times and sentences of what the autoscaler has changed; why nothing is changed would be told every minute."""


@dataclass(frozen=True)
class Snapshot:
    """Everything at one moment, by name."""

    deployments: Mapping[str, DeploymentView] = field(default_factory=dict)
    pods: Mapping[str, PodView] = field(default_factory=dict)

    @property
    def all_ready(self) -> bool:
        """Whether every LLMDeployment is Ready."""
        return bool(self.deployments) and all(view.is_ready for view in self.deployments.values())


def snapshot(deployments: Iterable[Body], pods: Iterable[Body]) -> Snapshot:
    """Read the bodies of LLMDeployments and of their pods."""
    return Snapshot(
        {body["metadata"]["name"]: _deployment(body) for body in deployments},
        {body["metadata"]["name"]: _pod(body) for body in pods},
    )


def tell(before: Snapshot, after: Snapshot) -> list[tuple[str, str]]:
    """Return what changed as (deployment, sentence), in the order a person would tell it."""
    lines: list[tuple[str, str]] = []
    for name, view in after.deployments.items():
        lines.extend((name, sentence) for sentence in _new_decisions(before.deployments.get(name), view))
    for name, pod in after.pods.items():
        lines.extend((pod.deployment, sentence) for sentence in _pod_changes(before.pods.get(name), pod))
    gone = [pod for name, pod in before.pods.items() if name not in after.pods]
    lines.extend((pod.deployment, f"pod {pod.name} is gone") for pod in gone)
    for name, view in after.deployments.items():
        lines.extend((name, sentence) for sentence in _progress(before.deployments.get(name), view))
    return lines


def _deployment(body: Body) -> DeploymentView:
    status = body.get("status") or {}
    ready: Mapping[str, str] = next((entry for entry in status.get("conditions") or () if entry["type"] == "Ready"), {})
    changes = (status.get("autoscaling") or {}).get("changes") or ()
    current = status.get("observedGeneration") == body["metadata"].get("generation")
    return DeploymentView(
        name=body["metadata"]["name"],
        desired=desired(body),
        ready=status.get("readyReplicas") or 0,
        is_ready=current and ready.get("status") == "True",
        reason=ready.get("reason", "Unknown"),
        message=ready.get("message", "the operator has not looked at it yet"),
        decisions=tuple(each["message"] for each in status.get("decisions") or () if each["reason"] != "Autoscaled"),
        scaled=tuple((each["time"], each.get("message", "")) for each in reversed(changes)),
    )


def _pod(body: Body) -> PodView:
    status, metadata = body.get("status") or {}, body["metadata"]
    return PodView(
        name=metadata["name"],
        namespace=metadata.get("namespace", "default"),
        container=body["spec"]["containers"][0]["name"],
        deployment=(metadata.get("labels") or {}).get(names.LABEL_DEPLOYMENT, ""),
        address=status.get("podIP", ""),
        state=pod_state(body),
        restarts=sum(entry.get("restartCount", 0) for entry in status.get("containerStatuses") or ()),
        problem=pod_problem(status),
    )


def _new_decisions(before: DeploymentView | None, after: DeploymentView) -> list[str]:
    known, told = (before.decisions, before.scaled) if before else ((), ())
    new = [sentence for sentence in after.decisions if sentence not in known]
    new += [change[1] for change in after.scaled if change not in told]
    return [f"decided: {sentence}" for sentence in new]


def _pod_changes(before: PodView | None, after: PodView) -> list[str]:
    lines = []
    if before and after.restarts > before.restarts:
        lines.append(f"pod {after.name} has been restarted ({after.restarts} times so far)")
    if (before.state if before else None) != after.state:
        where = f" on {after.address}" if after.address and after.state in ("Fetching", "Running", "Ready") else ""
        lines.append(f"pod {after.name}: {_STATES.get(after.state, after.state.lower())}{where}")
    if after.problem and after.problem != (before.problem if before else None):
        lines.append(f"pod {after.name}: {after.problem}")
    return lines


_STATES = {
    "Fetching": "fetches the model",
    "Running": "its processes run",
    "Ready": "serves",
    "Pending": "waits to start",
    "Leaving": "drains and leaves",
}


def _progress(before: DeploymentView | None, after: DeploymentView) -> list[str]:
    was_ready = before.is_ready if before else False
    if after.is_ready and not was_ready:
        return [f"Ready: {after.message}"]
    lines = []
    if before and after.ready != before.ready:
        lines.append(f"{after.ready} of {after.desired} replicas serve")
    if after.reason == "Fetching" and after.message != (before.message if before else None):
        lines.append(after.message)
    if after.reason in _STOPPERS and after.message != (before.message if before else None):
        lines.append(f"not ready, {after.reason}: {after.message}")
    return lines


_STOPPERS = ("InvalidSpec", "NotOwned", "Forbidden", "InvalidObject", "Missing")
