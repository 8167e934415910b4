"""The whole pure core in one call: deployment, facts and observation to plan and objects.

    decide the shape and the fit  ->  build the pod template  ->  hash it: the revision  ->  plan  ->  build the rest

The controller applies what comes out; `manta plan` and `manta render` print it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from manta_operator.api import names
from manta_operator.api.models import LLMDeployment, LLMDeploymentSpec
from manta_operator.builders import access, adapters, engine_groups, integrations, pod_template, protection
from manta_operator.builders.engine_pod import engine_template, template_hash
from manta_operator.builders.routing import changing, routing
from manta_operator.facts.accelerators import Accelerator
from manta_operator.facts.models import ModelFacts
from manta_operator.planning import engine_checks, fit, roofline, search
from manta_operator.planning.adapters import lora_of
from manta_operator.planning.autoscale_budget import healthy_pods
from manta_operator.planning.autoscale_drain import decisions as short_drain
from manta_operator.planning.mode_change import Routers
from manta_operator.planning.observe import Observed
from manta_operator.planning.plan import Circumstances, Deadlines, Decision, Plan, Wish, plan
from manta_operator.planning.previous import accelerators, stands
from manta_operator.planning.problems import Problem
from manta_operator.planning.rollout import NOTHING_ELSE

Object = dict[str, Any]
START_MARGIN_SECONDS = 600
"""What a new replica gets beyond startupSeconds by default: its pods are scheduled, its image is pulled."""


@dataclass(frozen=True)
class Desired:
    """The plan and the objects to apply, in the order to apply them."""

    plan: Plan
    objects: tuple[Object, ...]
    template: Object = field(default_factory=dict)
    """Pod template of the engines: what `placement.room` looks for places for."""
    keep: bool = False
    """Nothing that leads requests is to be pruned: the routers of another mode serve until the new ones do."""
    again_in: float | None = None
    """Seconds until the routers are worth another look; None: when something happens."""
    doubts: tuple[Problem, ...] = ()
    """What is known now would rule out the shape, of which there are pods already."""


def desire(
    deployment: LLMDeployment,
    facts: ModelFacts | None,
    observed: Observed,
    previous: search.Choice | None = None,
    circumstances: Circumstances = NOTHING_ELSE,
    *,
    unseen: str = "",
    extra: Mapping[str, Accelerator] | None = None,
) -> Desired | tuple[Problem, ...]:
    """Return what should exist, or why it cannot.

    Args:
        deployment: What is asked for.
        facts: What the checkpoint says; None if it cannot be seen.
        observed: What there is.
        previous: What was decided before from the same spec: it stands once pods were made of it.
        circumstances: What an earlier call `wants` to know.
        unseen: Why there are no facts, where somebody could say it.
        extra: Accelerators of a user's own, by type.
    """
    started = previous if stands(previous, observed) else None
    decided, doubts = _decide(deployment.spec, facts, started, previous, extra)
    misshapen = pod_template.problems(deployment.spec.pod_template)
    if not isinstance(decided, search.Choice):
        return (*decided, *misshapen)
    if misshapen:
        return misshapen
    accelerator = decided.accelerator or fit.accelerator_of(deployment.spec, extra)
    if facts is None:
        decided = _explained(decided, deployment.spec, accelerator, unseen)
    template = engine_template(deployment, decided, accelerator)
    decision = _plan(deployment, decided, template, observed, circumstances)
    notes = engine_checks.decisions(deployment.spec, facts, accelerator)
    told = (*notes, *map(_doubt, doubts), *adapters.decisions(deployment.spec), *short_drain(deployment.spec))
    speed = roofline.estimate(deployment.spec, decided.shape, accelerator, facts, decided.fit)
    decision = replace(decision, decisions=(*decision.decisions, *told), performance=speed)
    change = changing(deployment, observed)
    objects = tuple(_objects(deployment, decision, template, change, observed))
    return Desired(decision, objects, template, keep=change.keep, again_in=change.again_in, doubts=doubts)


def _decide(
    spec: LLMDeploymentSpec,
    facts: ModelFacts | None,
    started: search.Choice | None,
    previous: search.Choice | None,
    extra: Mapping[str, Accelerator] | None,
) -> tuple[search.Choice | tuple[Problem, ...], tuple[Problem, ...]]:
    """Return the shape and what its pods ask for, or what rules every one out; and what speaks against one started.

    Of what was `started` the pods stay what they are, whatever is known now; a catalog says where others may run.
    """
    decided = search.decide(spec, facts, previous, stands=started is not None, extra=extra)
    if started is None:
        if not isinstance(decided, search.Choice):
            return decided, ()
        return replace(decided, accelerator=fit.accelerator_of(spec, extra)), ()
    choice, doubts = (decided, ()) if isinstance(decided, search.Choice) else (started, decided)
    accelerator = fit.accelerator_of(spec, accelerators(spec, started, extra))
    if then := started.accelerator:
        accelerator = replace(accelerator, resource=then.resource, products=then.products)
    return replace(choice, accelerator=accelerator, measured=started.measured, started=True), doubts


def _plan(
    deployment: LLMDeployment, choice: search.Choice, template: Object, observed: Observed, known: Circumstances
) -> Plan:
    spec = deployment.spec
    return plan(
        deployment.name,
        Wish(spec.replicas, spec.rollout.surge, spec.rollout.unavailable),
        _deadlines(spec),
        choice,
        template_hash(template),
        observed,
        known,
    )


def _doubt(problem: Problem) -> Decision:
    """Tell of facts that speak against what there is: they came later."""
    return Decision("Doubted", f"{problem}; as its replicas were started before this was known, they stand")


def _explained(choice: search.Choice, spec: LLMDeploymentSpec, accelerator: Accelerator, why: str) -> search.Choice:
    """Say why nothing is known now, where nothing was known before either."""
    if choice.fit.fits != "Unknown" or choice.fit.weights_per_rank is not None:
        return choice
    message = fit.judge(spec, choice.shape, accelerator, None).message
    said = replace(choice.fit, message=f"{message}; {why}" if why else message)
    return replace(choice, fit=said)


def _deadlines(spec: LLMDeploymentSpec) -> Deadlines:
    startup = spec.engine.startup_seconds
    progress = spec.rollout.progress_deadline_seconds or startup + START_MARGIN_SECONDS
    return Deadlines(startup, progress, spec.engine.hang_seconds)


def _objects(
    deployment: LLMDeployment, decision: Plan, template: Object, change: Routers, observed: Observed
) -> list[Object]:
    operator = observed.operator_namespace
    healthy = healthy_pods(deployment.spec, decision.shape.pods, observed)
    return [
        access.service_account(deployment),
        access.role(deployment),
        access.role_binding(deployment),
        engine_groups.group_service(deployment),
        protection.disruption_budget(deployment, names.COMPONENT_ENGINE, healthy),
        protection.disruption_budget(deployment, names.COMPONENT_ROUTER),
        protection.engine_policy(deployment, operator, both_modes=change.admit_both),
        protection.router_policy(deployment, operator, both_modes=change.admit_both),
        *([adapters.config_map(deployment)] if lora_of(deployment.spec) else []),
        *(engine_groups.statefulset(deployment, decision, group, template) for group in decision.groups),
        *routing(deployment, change),
        *integrations.pod_monitors(deployment),
    ]
