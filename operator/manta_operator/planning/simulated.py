"""The planner's estimate of a replica as an engine that can be simulated (`manta simulate -f`). Pure.

The roofline (roofline.py) is asked for two kinds of requests, of p and P tokens with `a` of answer, and solved for the
terms of the simulation's step (scaling/simulation/model.py), so that both say the same of them:

    filled(p)           = first token - its overhead = A p + B p^2 / 2
    per_prefill_token   = A / (data x pipeline),   per_pair = B / (data x pipeline)
    step of one, at L   = 1 / alone = fixed + L x slope                              L = p + a / 2
    per_context_token   = slope / (data x pipeline)
    step of all, at L   = pipeline x (data x crowd x a / together - crowd x filled / pipeline) / a
    per_sequence        = what of it is more than fixed and contexts, a sequence

A replica of several data ranks or stages becomes one engine that does as much as all of them: what queues is right, and
a prompt that is alone is faster than it would be, by their number.
"""

import math

from manta_operator.api.models import LLMDeploymentSpec
from manta_operator.facts.accelerators import Accelerator
from manta_operator.facts.models import ModelFacts
from manta_operator.planning.fit import Fit
from manta_operator.planning.memory.engine_version import CURRENT
from manta_operator.planning.memory.overhead import requests_of_step, tokens_of_step
from manta_operator.planning.roofline import FIRST_OVERHEAD, Performance, estimate
from manta_operator.planning.shape import Shape
from manta_operator.scaling.simulation.model import EngineModel

_SHORT, _LONG, _ANSWER = 2048, 8192, 256
"""Prompts so long that they are bound by what is computed, as far as the context allows."""


def engine(
    spec: LLMDeploymentSpec, shape: Shape, accelerator: Accelerator, facts: ModelFacts | None, fit: Fit
) -> EngineModel | None:
    """Return the engine that a replica of this shape is, by estimate; None where nothing can be estimated.

    Args:
        spec: What is asked for.
        shape: How a replica is cut.
        accelerator: What it computes on.
        facts: What the checkpoint says.
        fit: The verdict on this shape, for what its cache holds.
    """
    longest = fit.max_model_len or _LONG + _ANSWER
    answer = max(1, min(_ANSWER, longest // 8))
    points = [
        estimate(spec, shape, accelerator, facts, fit, prompt=prompt, answer=answer)
        for prompt in (min(_SHORT, max(1, longest // 4)), min(_LONG, longest - answer))
    ]
    short, long = points
    if short is None or long is None or short.prompt == long.prompt or not fit.kv_cache_tokens:
        return None
    ways = shape.data * shape.pipeline
    prefill, pairs = _prefill(short, long)
    fixed, slope = _alone(short, long)
    return EngineModel(
        fixed=fixed,
        per_sequence=max(0.0, _each(short, shape, fixed) - _context(short) * slope / ways),
        per_prefill_token=prefill / ways,
        per_pair=pairs / ways,
        per_context_token=slope / ways,
        kv_tokens=fit.kv_cache_tokens,
        sequences=requests_of_step(spec, shape, accelerator, CURRENT) * shape.data,
        step_tokens=tokens_of_step(spec, shape, accelerator, longest, CURRENT) * shape.data,
    )


def _context(point: Performance) -> float:
    return point.prompt + point.answer / 2


def _filled(point: Performance) -> float:
    return point.first_token.value - FIRST_OVERHEAD


def _prefill(short: Performance, long: Performance) -> tuple[float, float]:
    """Return what a token of a prompt takes, and a pair of them (s)."""
    first, second = _filled(short) / short.prompt, _filled(long) / long.prompt
    pairs = max(0.0, 2 * (second - first) / (long.prompt - short.prompt))
    return max(second - pairs * long.prompt / 2, second / 2), pairs


def _alone(short: Performance, long: Performance) -> tuple[float, float]:
    """Return the step of one request without its context, and what a token of that adds (s)."""
    first, second = 1 / short.alone.value, 1 / long.alone.value
    slope = max(0.0, (second - first) / (_context(long) - _context(short)))
    return first - slope * _context(short), slope


def _each(point: Performance, shape: Shape, fixed: float) -> float:
    """Return what a sequence adds to the step of as many as there can be, its context included (s)."""
    crowd = math.ceil(point.requests / (shape.data * shape.pipeline))
    busy = shape.data * crowd * point.answer / point.together.value
    step = (busy - crowd * _filled(point) / shape.pipeline) / point.answer
    return (shape.pipeline * step - fixed) / (crowd * shape.data * shape.pipeline)
