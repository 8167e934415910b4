"""The whole status of an LLMDeployment as one value, so that it can be written once, and only if it changed. Pure."""

from collections.abc import Mapping
from typing import Any

from manta_operator.api import names
from manta_operator.api.models import LLMDeployment
from manta_operator.planning.adapters import adapters_status
from manta_operator.planning.autoscale_condition import decisions as autoscale_decisions
from manta_operator.planning.conditions import Condition, Situation, conditions, merge
from manta_operator.planning.ends import ends
from manta_operator.planning.engine_facts import engine_status
from manta_operator.planning.fit_status import beside, fit_status, measured
from manta_operator.planning.plan import Decision, Plan
from manta_operator.planning.previous import remember, same_spec

_DECISION_LIMIT = 1024
"""Characters of a decision that are kept."""
_DECISIONS = 64
"""How many decisions the schema takes."""
_KEPT = ("revision", "plan", "shape", "fit", "engine")
"""What stays as it was while the spec cannot be planned: the replicas of then are still there."""


def status(deployment: LLMDeployment, situation: Situation, before: Mapping[str, Any], now: str) -> dict[str, Any]:
    """Return the status to write.

    Args:
        deployment: The object it is about.
        situation: What was gathered in this pass.
        before: The status as it stands; its transition times are kept where nothing changed.
        now: RFC 3339 time in UTC, seconds.
    """
    plan = situation.plan
    result: dict[str, Any] = {
        "observedGeneration": deployment.generation,
        "replicas": len(situation.observed.groups),
        "readyReplicas": situation.observed.ready_groups(),
        "desiredReplicas": situation.replicas,
        "selector": _selector(deployment.name),
        "endpoint": endpoint(deployment),
        "conditions": merge(conditions(situation), before.get("conditions") or (), deployment.generation, now),
    }
    if situation.scaling is not None:
        result["autoscaling"] = dict(situation.scaling.told)
    if situation.engines:
        result["engine"] = engine_status(situation.engines)
    if found := ends(situation.observed.groups, situation.observed.now):
        result["engineEnds"] = found
    if situation.adapters or "adapters" in before:
        result["adapters"] = adapters_status(situation.adapters)
    if plan is None:
        result |= {name: before[name] for name in _KEPT if name in before}
    else:
        result["revision"] = plan.revision
        result["plan"] = str(plan.shape)
        result["shape"] = remember(deployment.spec, plan.shape, plan.fit, plan.accelerator, started=plan.started)
        result["fit"] = _fit(deployment, situation, plan, before)
        result["decisions"] = _decisions((*plan.decisions, *autoscale_decisions(situation.scaling)))
    return result


def _decisions(decided: tuple[Decision, ...]) -> list[dict[str, str]]:
    """Cut to what the API server takes: a status that it refuses is no status at all."""
    if len(decided) > _DECISIONS:
        left_out = len(decided) - _DECISIONS + 1
        decided = (*decided[: _DECISIONS - 1], Decision("More", f"and {left_out} more decisions"))
    return [{"reason": each.reason, "message": each.message[:_DECISION_LIMIT]} for each in decided]


def unreadable(error: str, body: Mapping[str, Any], now: str) -> dict[str, Any]:
    """Return the status of an object this version cannot read: admitted, so by another version of the CRD."""
    generation, before = body["metadata"].get("generation", 0), body.get("status") or {}
    message = f"this operator cannot read the spec: {error}; update the CRD and the operator together"
    judged = (
        Condition("Planned", "False", "InvalidSpec", message),
        Condition("Ready", "False", "InvalidSpec", message),
    )
    merged = merge(judged, before.get("conditions") or (), generation, now)
    return dict(before) | {"observedGeneration": generation, "conditions": merged}


def endpoint(deployment: LLMDeployment) -> str:
    """Return the address of the OpenAI API, as pods of the cluster reach it; behind a gateway, its first host name.

    Empty: the gateway decides, and nobody has told us.
    """
    if deployment.spec.router.mode == "inference-pool":
        host = next((name for name in deployment.spec.gateway.hostnames if not name.startswith("*")), "")
        return f"http://{host}/v1" if host else ""
    return f"http://{deployment.name}.{deployment.namespace}.svc:{deployment.spec.router.port}/v1"


def _selector(name: str) -> str:
    """Select the heads alone, so that the pods an HPA counts are the replicas it scales."""
    return f"{names.LABEL_DEPLOYMENT}={name},{names.LABEL_COMPONENT}={names.COMPONENT_ENGINE},{names.LABEL_POD_INDEX}=0"


def _fit(deployment: LLMDeployment, situation: Situation, plan: Plan, before: Mapping[str, Any]) -> dict[str, Any]:
    actual = measured(situation.engines, plan.shape.data) if situation.engines else None
    found = fit_status(plan.fit, speed=str(plan.performance or ""), actual=actual)
    return beside(found, before.get("fit") or {}) if same_spec(deployment.spec, before) else found
