"""What the conditions are judged from, and what a condition is: the values of `conditions`. Pure."""

from dataclasses import dataclass
from typing import Literal

from manta_operator.planning.adapters import Standing
from manta_operator.planning.autoscale_status import Scaling
from manta_operator.planning.engine_facts import EngineReport
from manta_operator.planning.integrations import Integration
from manta_operator.planning.observe import Observed
from manta_operator.planning.plan import Plan
from manta_operator.planning.problems import Failure, Problem

Status = Literal["True", "False", "Unknown"]


@dataclass(frozen=True)
class Situation:
    """Everything a check may read.

    Attributes:
        replicas: How many are asked for.
        router_replicas: Router pods asked for.
        router: Name of their Deployment; while the mode changes those of another one serve, too.
        plan: None: the spec cannot be planned, `problems` say why.
        problems: What is wrong with the spec.
        observed: What the cluster has.
        failures: What the API server did not do in this pass, but for the integrations.
        next_try: RFC 3339 time of the next pass, where something failed.
        model_read: The operator has read the checkpoint.
        model_error: Why it cannot make sense of the checkpoint.
        integrations: The objects of optional kinds that are asked for, and what became of them.
        adapters: How each adapter that is wanted is on each replica.
        policy: What becomes of a spec that does not fit.
        doubts: What would rule out the plan if there were no pods of it yet.
        engines: What those of the newest revision say that they chose; None while none has said anything.
        scaling: How the autoscaler does; None: spec.replicas rules.
    """

    replicas: int
    router_replicas: int
    plan: Plan | None
    problems: tuple[Problem, ...]
    observed: Observed
    failures: tuple[Failure, ...] = ()
    next_try: str | None = None
    model_read: bool = False
    model_error: str | None = None
    integrations: tuple[Integration, ...] = ()
    adapters: tuple[Standing, ...] = ()
    router: str = ""
    engines: EngineReport | None = None
    policy: Literal["enforce", "warn"] = "enforce"
    doubts: tuple[Problem, ...] = ()
    scaling: Scaling | None = None


@dataclass(frozen=True)
class Condition:
    """One condition, without its times."""

    type: str
    status: Status
    reason: str
    message: str
