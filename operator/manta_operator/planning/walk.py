"""Walks over the shapes that a replica could have, and takes the smallest that does. Pure; the core of the search.

    taken       it fits, and its KV cache holds spec.fit.concurrency requests of maxModelLen tokens
    set aside   it is too close to call: taken where none is certain
    rejected    anything else, with the reason

search.py decides with it, advice.py asks it what would fit, compare.py asks it of every accelerator.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import islice

from manta_operator.api.models import LLMDeploymentSpec
from manta_operator.facts.accelerators import Accelerator
from manta_operator.facts.models import ModelFacts
from manta_operator.planning.choice import Choice, Rejected
from manta_operator.planning.fit import Fit, judge
from manta_operator.planning.problems import DOES_NOT_FIT, Problem
from manta_operator.planning.shape import DEVICES_PER_NODE, Shape, candidates
from manta_operator.planning.shape_problems import advice, problems

_LOOKED = 2
"""So many of the next shapes are held to be certain where the one that is taken is close."""
_NO_SHAPE = Problem("spec.parallelism", "there is no shape to try", "name spec.parallelism.tensor")
_REMEDY = "choose another spec.accelerator.type, a smaller model, or a checkpoint that is quantized"


@dataclass(frozen=True)
class Failed:
    """No shape does: what is said of it, why each was rejected, and the widest within a pod that could be tried."""

    problem: Problem
    rejected: tuple[Rejected, ...]
    best: Choice | None = None


def walk(
    spec: LLMDeploymentSpec,
    facts: ModelFacts | None,
    accelerator: Accelerator,
    shapes: Iterable[Shape] | None = None,
    node: int = DEVICES_PER_NODE,
) -> Choice | Failed:
    """Return the smallest shape that fits, or why none does.

    A verdict of Unknown that no width would change (a checkpoint or a memory that nobody knows) is taken at once.

    Args:
        spec: What is asked for.
        facts: What the checkpoint says; None if it cannot be seen.
        accelerator: What it computes on.
        shapes: To try, in any order; None: what shape.py makes of the spec.
        node: Accelerators of one node.
    """
    tried: list[Rejected] = []
    aside = best = last = None
    problem: Problem | None = None
    left = iter(sorted(candidates(spec, facts, node) if shapes is None else shapes, key=_size))
    for shape in left:
        if refused := problems(spec, shape, facts):
            tried.append(Rejected(shape, refused[0].message))
            problem = problem or refused[0]
            continue
        fit = _asked(spec, shape, accelerator, facts)
        choice = Choice(shape, fit, advice(shape, facts), tuple(tried))
        if fit.fits == "True" or (fit.fits == "Unknown" and _says_all(fit)):
            return _with_certain(choice, spec, facts, accelerator, left)
        tried.append(Rejected(shape, fit.message))
        aside = aside or (choice if fit.fits == "Unknown" else None)
        last = choice
        best = choice if best is None or shape.pods <= best.shape.pods else best
    if aside is not None:
        return aside
    if last is not None:
        problem = Problem("spec", _misfit(spec, last, len(tried)), _REMEDY, DOES_NOT_FIT)
    return Failed(problem or _NO_SHAPE, tuple(tried), best)


def at_widest(spec: LLMDeploymentSpec, facts: ModelFacts, accelerator: Accelerator) -> str:
    """Return the verdict on the widest shape, "" where no engine can run it: a short way to know how a walk ends."""
    shape = max(candidates(spec, facts), key=_size)
    return "" if problems(spec, shape, facts) else _asked(spec, shape, accelerator, facts).fits


def _is_close(fit: Fit) -> bool:
    """Whether it fits by the point estimate, and not by the lower bound."""
    if fit.kv_cache is None or fit.margin_per_rank is None:
        return False
    return fit.kv_cache.low < fit.kv_cache.value - fit.margin_per_rank


def _with_certain(
    choice: Choice, spec: LLMDeploymentSpec, facts: ModelFacts | None, accelerator: Accelerator, wider: Iterable[Shape]
) -> Choice:
    """Say which of the next shapes is certain to fit, where the chosen one is close."""
    if not _is_close(choice.fit):
        return choice
    for shape in islice((each for each in wider if not problems(spec, each, facts)), _LOOKED):
        fit = _asked(spec, shape, accelerator, facts)
        if fit.fits == "True" and not _is_close(fit):
            sure = f"it is close, and {shape.cut} is certain to fit"
            return replace(choice, advice=f"{choice.advice}; {sure}" if choice.advice else sure)
    return choice


def _says_all(fit: Fit) -> bool:
    """Whether a verdict of Unknown is one that no width would change; one with too little room for weights may."""
    return fit.margin_per_rank is None and fit.kv_cache_per_rank != 0


def _misfit(spec: LLMDeploymentSpec, widest: Choice, tried: int) -> str:
    width = f", not even on {widest.shape.ranks} accelerators ({widest.shape.cut})" if tried > 1 else ""
    return f"{spec.model.uri} does not fit{width}: {widest.fit.message}"


def _size(shape: Shape) -> tuple[int, ...]:
    """Order shapes: the fewest accelerators, then the fewest stages, pods and data ranks."""
    return (shape.ranks, shape.pipeline, shape.pods, shape.data, shape.tensor)


def _asked(spec: LLMDeploymentSpec, shape: Shape, accelerator: Accelerator, facts: ModelFacts | None) -> Fit:
    """Judge, and hold the verdict to the requests that the spec wants at once where there is room for any."""
    fit = judge(spec, shape, accelerator, facts)
    wanted, length, data = spec.fit.concurrency, fit.max_model_len, shape.data
    if wanted == 1 or fit.fits == "False" or not length or fit.tokens is None:
        return fit
    holds = round(fit.tokens.value / length, 6)
    if holds >= wanted:
        return fit
    missing = min(-1, _left_over(fit, wanted, data))
    said = f"{fit.message}; {wanted} requests are asked for at once (spec.fit.concurrency)"
    if (fit.at_most or 0) >= wanted:
        return replace(
            fit, fits="Unknown", message=f"{said}: too close to call, but rather not", margin_per_rank=missing
        )
    return replace(fit, fits="False", message=said, margin_per_rank=missing)


def _left_over(fit: Fit, wanted: int, data: int) -> int:
    """Return the bytes of KV cache of a rank that so many requests leave, shared out over the data ranks."""
    cache = int(fit.kv_cache.value) if fit.kv_cache is not None else 0
    one = cache - (fit.margin_per_rank or 0)
    return cache - one * -(-wanted // data)
