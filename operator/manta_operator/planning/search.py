"""Which shape a replica gets: the smallest one that fits. Pure; the planner's first decision.

    shape.py             the shapes to try, and how a replica is cut
    shape_problems.py    what no engine can run
    fit.py               whether the model fits in a shape
    walk.py              the smallest shape that does
    advice.py            what would fit, where nothing does

What was decided stands: facts that appear, vanish or change, or a newer Manta that counts otherwise, are no reason to
start running replicas anew (docs/adr/0023-where-facts-come-from.md). They are judged anew, which only informs.
"""

from collections.abc import Mapping
from dataclasses import replace

from manta_operator.api.models import LLMDeploymentSpec
from manta_operator.facts.accelerators import Accelerator, catalog
from manta_operator.facts.models import ModelFacts
from manta_operator.planning import engine_checks
from manta_operator.planning.advice import advise
from manta_operator.planning.choice import Choice, Rejected
from manta_operator.planning.fit import accelerator_of, judge
from manta_operator.planning.problems import Problem
from manta_operator.planning.shape_problems import advice
from manta_operator.planning.walk import Failed, walk

__all__ = ["Choice", "Rejected", "decide"]

_ADVICE = 3
"""How many ways out a refusal names."""


def decide(
    spec: LLMDeploymentSpec,
    facts: ModelFacts | None,
    previous: Choice | None = None,
    *,
    stands: bool = False,
    extra: Mapping[str, Accelerator] | None = None,
) -> Choice | tuple[Problem, ...]:
    """Return the smallest shape that fits with its verdict, or the problems that rule out every shape.

    A shape whose fit is Unknown is returned: a cluster's operator rarely sees the checkpoint. With spec.fit.policy
    warn, one that does not fit is, too.

    Args:
        spec: What is asked for.
        facts: What the checkpoint says; None if it cannot be seen.
        previous: The choice made before from the same fields of the spec. It is kept, unless it is certain that it
            cannot fit; where there are no facts, its verdict is, too, as long as nothing has changed.
        stands: Pods were made of `previous`: then it is kept whatever the arithmetic says.
        extra: Accelerators of a user's own, by type.
    """
    try:
        accelerator = accelerator_of(spec, extra)
    except KeyError:
        return (_unknown_accelerator(spec.accelerator.type, extra or {}),)
    if refused := engine_checks.problems(spec, facts, accelerator):
        return refused
    if facts is None and previous is not None and previous.unchanged:
        return previous
    if previous is not None:
        kept = _judged_anew(spec, facts, accelerator, previous)
        if kept.fit.fits != "False" or stands:
            return kept
    found = walk(spec, facts, accelerator)
    if isinstance(found, Choice):
        return found
    if spec.fit.policy == "warn" and found.best is not None:
        return found.best
    return (_with_ways_out(found, spec, facts, extra or {}),)


def _judged_anew(
    spec: LLMDeploymentSpec, facts: ModelFacts | None, accelerator: Accelerator, previous: Choice
) -> Choice:
    """Keep what makes the pods: the shape, and the memory they ask for."""
    fit = judge(spec, previous.shape, accelerator, facts)
    kept = previous.fit.memory_per_pod
    return Choice(previous.shape, replace(fit, memory_per_pod=kept), advice(previous.shape, facts))


def _with_ways_out(
    failed: Failed, spec: LLMDeploymentSpec, facts: ModelFacts | None, extra: Mapping[str, Accelerator]
) -> Problem:
    """Say what would fit, where anything does; what no engine can run has its own remedy."""
    ways = advise(spec, facts, extra=extra, most=_ADVICE) if failed.best is not None else ()
    if not ways:
        return failed.problem
    first, *more = (way.text for way in ways)
    return replace(failed.problem, remedy="; or ".join([f"set {first}", *more]))


def _unknown_accelerator(name: str, extra: Mapping[str, Accelerator]) -> Problem:
    known = ", ".join(dict.fromkeys([*catalog(), *extra]))
    remedy = f"use one of: {known}; or other, with spec.accelerator.resource"
    return Problem("spec.accelerator.type", f"{name!r} is not an accelerator Manta knows", remedy)
