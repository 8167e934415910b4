"""Which shape a replica gets: the smallest one that fits. Pure; the planner's first decision.

shape.py             the widths to try, and how a replica of that width is cut
shape_problems.py    what no engine can run
fit.py               whether the model fits in a shape
"""

from dataclasses import dataclass

from manta_operator.api.models import LLMDeploymentSpec
from manta_operator.facts.accelerators import catalog
from manta_operator.facts.models import ModelFacts
from manta_operator.planning import engine_checks
from manta_operator.planning.fit import Fit, accelerator_of, judge
from manta_operator.planning.problems import Problem
from manta_operator.planning.shape import Shape, cut, tensor_candidates
from manta_operator.planning.shape_problems import advice, problems


@dataclass(frozen=True)
class Rejected:
    """A shape that was tried and is not taken, and why, in a sentence."""

    shape: Shape
    why: str

    def __str__(self) -> str:
        return f"{self.shape.cut}: {self.why}"


@dataclass(frozen=True)
class Choice:
    """The shape of a replica and its verdict."""

    shape: Shape
    fit: Fit
    advice: str = ""
    """What would do better, in a sentence."""
    rejected: tuple[Rejected, ...] = ()
    """What was tried before, smallest first."""


def decide(
    spec: LLMDeploymentSpec, facts: ModelFacts | None, previous: Choice | None = None
) -> Choice | tuple[Problem, ...]:
    """Return the smallest shape that fits with its verdict, or the problems that rule out every shape.

    A shape whose fit is Unknown is returned: a cluster's operator rarely sees the checkpoint. Where it does not see
    it now, `previous` stands: the choice made before from the same fields of the spec.
    """
    try:
        accelerator = accelerator_of(spec)
    except KeyError:
        return (_unknown_accelerator(spec.accelerator.type),)
    if refused := engine_checks.problems(spec, facts, accelerator):
        return refused
    if facts is None and previous is not None:
        return previous
    if facts is not None and facts.quantization and spec.engine.quantization == "none":
        return (_quantized(facts.quantization),)
    refused = ()
    for tensor in tensor_candidates(spec, facts):
        shape = cut(spec, tensor)
        refused = problems(spec, shape, facts)
        if refused:
            continue
        fit = judge(spec, shape, accelerator, facts)
        if fit.fits != "False":
            return Choice(shape, fit, advice(shape, facts))
        refused = (Problem("spec", f"{spec.model.uri} does not fit: {fit.message}", _remedy(spec)),)
    return refused


def _remedy(spec: LLMDeploymentSpec) -> str:
    wider = "" if spec.accelerator.type == "cpu" else "raise spec.parallelism.tensor or pipeline, "
    return f"{wider}shorten spec.engine.maxModelLen, quantize, or give spec.engine.kvCacheMemory more room"


def _quantized(method: str) -> Problem:
    return Problem(
        "spec.engine.quantization",
        f"none refuses a quantized checkpoint, and this one is quantized with {method}",
        "use auto, or name a checkpoint that is not quantized",
    )


def _unknown_accelerator(name: str) -> Problem:
    known = ", ".join(catalog())
    remedy = f"use one of: {known}; or other, with spec.accelerator.resource"
    return Problem("spec.accelerator.type", f"{name!r} is not an accelerator Manta knows", remedy)
