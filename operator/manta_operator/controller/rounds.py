"""What one look of a pass and the writes after it came to, and the situation that its status is judged from."""

from dataclasses import dataclass, field, replace
from typing import Any

from manta_operator.api import names
from manta_operator.api.models import LLMDeployment
from manta_operator.builders.desired import Desired
from manta_operator.builders.metadata import router_workload
from manta_operator.controller.deployments import Entry, Memory
from manta_operator.controller.engine_facts import told
from manta_operator.controller.errors import ClusterError
from manta_operator.controller.scale_told import scaling
from manta_operator.planning.adapters import standings
from manta_operator.planning.conditions import Situation
from manta_operator.planning.engine_facts import report
from manta_operator.planning.fetching import with_fetches
from manta_operator.planning.integrations import Integration
from manta_operator.planning.observe import Observed
from manta_operator.planning.problems import Failure, Problem
from manta_operator.planning.rollout_words import gathered

Object = dict[str, Any]


@dataclass
class Round:
    """What one look and the writes after it came to."""

    observed: Observed
    desired: Desired | tuple[Problem, ...]
    model_error: str | None
    model_read: bool
    failures: list[ClusterError] = field(default_factory=list)
    groupless: bool = False
    """Something that the groups need was not written."""
    routeless: bool = False
    """Something that leads requests to the engines was not written, so what led them before must stay."""
    integrations: list[Integration] = field(default_factory=list)
    moved: bool = False
    look_again: float | None = None


def situation(
    entry: Entry, deployment: LLMDeployment, done: Round, unseen: list[ClusterError], next_try: str | None
) -> Situation:
    """Return what the conditions are judged from.

    Args:
        entry: The deployment, and what is remembered of it.
        deployment: The same as it was planned, with the replicas that are asked for.
        done: What the pass came to.
        unseen: Why drift of what it needs may not be noticed.
        next_try: When the next pass is due, where something failed.
    """
    memory, planned = entry.memory, done.desired if isinstance(done.desired, Desired) else None
    plan = planned.plan if planned else None
    revision = plan.revision if plan else ""
    return Situation(
        replicas=deployment.spec.replicas,
        router_replicas=deployment.spec.router.replicas,
        plan=plan,
        problems=() if isinstance(done.desired, Desired) else done.desired,
        observed=with_fetches(done.observed, memory.fetches),
        failures=tuple(Failure(each.reason, each.message) for each in [*done.failures, *unseen]),
        next_try=next_try,
        model_read=done.model_read,
        model_error=done.model_error,
        integrations=tuple(done.integrations),
        router=router_workload(deployment),
        policy=deployment.spec.fit.policy,
        doubts=planned.doubts if planned else (),
        engines=report(deployment.spec, done.observed, told(memory.engines), plan),
        adapters=standings(deployment.spec, done.observed, memory.adapters, revision),
        scaling=scaling(entry, deployment, done.observed, revision),
    )


def names_groups(obj: Object) -> bool:
    """Say whether this is the Service that gives the groups their names."""
    metadata = obj["metadata"]
    owner = metadata["labels"][names.LABEL_DEPLOYMENT]
    return bool(obj["kind"] == "Service" and metadata["name"] == names.group_service_name(owner))


def gather(memory: Memory, done: Round) -> None:
    """Keep what was decided until a status tells of it: the next look sees a world in which it is done."""
    if isinstance(done.desired, Desired):
        plan = done.desired.plan
        memory.decided = gathered((memory.decided, plan.decisions))
        done.desired = replace(done.desired, plan=replace(plan, decisions=memory.decided))
