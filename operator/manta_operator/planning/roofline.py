"""How fast a replica answers: an estimate by a roofline. Pure; a hint for autoscaling bounds, never a promise.

A step takes as long as the slower of what it computes and what it reads (Williams, Waterman and Patterson, "Roofline",
CACM 52(4), 2009); both at a share of the data sheet's figures.

    step     = max(2 x active x tokens / (width x operations), weights read / bandwidth)      on each rank
             + requests x length x KV per token / bandwidth + OVERHEAD
    first    = (2 x active x prompt + attention) / (tensor x operations), at least one step   stages take turns
    alone    = 1 / (pipeline x step of one request)
    at once  = requests x answer / (answer x step + requests x first)     prompts and answers share the machine

The shares are fits to 29 published measurements with vLLM 0.11, and the bounds hold nine in ten of these: which ones,
and how far off the estimate is, stands in docs/performance.md.
"""

import math
from dataclasses import dataclass

from manta_operator.api.models import LLMDeploymentSpec
from manta_operator.facts.accelerators import Accelerator
from manta_operator.facts.models import ModelFacts
from manta_operator.planning.estimate import Estimate
from manta_operator.planning.fit import Fit, judge
from manta_operator.planning.memory import weights
from manta_operator.planning.shape import Shape
from manta_operator.planning.work import Work, attention, work

PROMPT, ANSWER = 1024, 256
"""Tokens of the request that is estimated; both are shortened to what maxModelLen allows."""
BANDWIDTH_SHARE = 0.65
"""Of the bandwidth in the data sheet, what reading weights and KV cache reaches."""
COMPUTE_SHARE, COMPUTE_SHARE_HOPPER = 0.6, 0.4
"""Of the operations in the data sheet, what matrix products reach: less from compute capability 9.0 on, whose boards
cannot hold their clocks at full load, and on what is not NVIDIA's."""
_HOPPER = 90
TENSOR_SHARE = 0.8
"""What of the speed remains whenever the tensor ranks double: they add up their results twice in a layer."""
OVERHEAD = 0.0005
"""Seconds that the scheduler and the sampler take for a step."""
FIRST_OVERHEAD = 0.02
"""Seconds that a request takes before it is computed and after: HTTP, tokens from text, a step of others."""
LOW, HIGH = 0.6, 1.6
"""How many times as fast it may be: the bounds of every figure."""
_FEW, _MANY, _LARGE = 256, 1024, 70 * 2**30
"""Requests that vLLM computes at once by default, and from which memory on they are many (engine/arg_utils.py)."""


@dataclass(frozen=True)
class Performance:
    """An estimate of one replica's speed, for requests of `prompt` tokens that are answered with `answer` tokens."""

    prompt: int
    answer: int
    alone: Estimate
    """Tokens a second of one request that has the replica to itself, from its first token on."""
    requests: int
    """How many such requests it computes at once: what its KV cache holds, at most maxNumSeqs."""
    together: Estimate
    """Tokens of answer a second over all of these, as new ones with their prompts keep coming."""
    first_token: Estimate
    """Seconds until the first token of a request that need not wait."""
    prompt_seconds: float = 0.0
    """Seconds of the whole replica that a prompt takes, as `together` counts them; 0: not known."""
    pair_seconds: float = 0.0
    """What attention adds of them for each pair of a prompt's tokens."""
    places: int = _MANY
    """Requests that it computes at once at most, however short they are."""

    def __str__(self) -> str:
        return (
            f"estimate, not measured: {_between(self.alone)} tokens/s for one request alone, "
            f"{_between(self.together)} for {self.requests} at once; first token after "
            f"{_between(self.first_token)} s ({self.prompt} tokens in, {self.answer} out)"
        )


@dataclass(frozen=True)
class _Machine:
    """What one rank does in a second, and what it holds."""

    operations: float
    bandwidth: float
    weights: float
    cached: float
    """Bytes of KV cache for a token."""


def estimate(
    spec: LLMDeploymentSpec,
    shape: Shape,
    accelerator: Accelerator,
    facts: ModelFacts | None,
    fit: Fit | None = None,
    *,
    prompt: int = PROMPT,
    answer: int = ANSWER,
) -> Performance | None:
    """Return how fast a replica of this shape answers; None where the model or the accelerator is not known enough.

    Args:
        spec: What is asked for.
        shape: How a replica is cut.
        accelerator: What it computes on.
        facts: What the checkpoint says.
        fit: The verdict on this shape, where it is at hand.
        prompt: Tokens of a prompt.
        answer: Tokens of its answer.
    """
    if facts is None or (does := work(facts)) is None:
        return None
    fit = fit or judge(spec, shape, accelerator, facts)
    machine = _machine(spec, shape, accelerator, facts, fit)
    if machine is None or not fit.kv_cache_tokens:
        return None
    prompt, answer = _shortened(prompt, answer, fit.max_model_len)
    places = _at_once(spec, accelerator) * shape.data
    requests = max(1, min(fit.kv_cache_tokens // (prompt + answer), places))
    first = _first(shape, machine, facts, does, prompt)
    alone = 1 / (shape.pipeline * _step(shape, machine, does, 1, prompt + answer / 2))
    crowd = -(-requests // (shape.data * shape.pipeline))  # stages work at different requests
    step = _step(shape, machine, does, crowd, prompt + answer / 2)
    filled = (first - FIRST_OVERHEAD) / shape.pipeline
    pair = _pair(shape, machine, facts, fit.max_model_len or prompt)
    rate = shape.data * crowd * answer / (answer * step + crowd * filled)
    waits = Estimate(first, first / HIGH, first / LOW)
    each = filled / shape.data
    return Performance(prompt, answer, _bounded(alone), requests, _bounded(rate), waits, each, pair, places)


def _machine(
    spec: LLMDeploymentSpec, shape: Shape, accelerator: Accelerator, facts: ModelFacts, fit: Fit
) -> _Machine | None:
    loaded = weights.on_rank(spec.engine, facts, shape, on=accelerator)
    operations = _operations(spec, accelerator, facts)
    if isinstance(loaded, str) or operations is None or accelerator.bandwidth is None:
        return None
    split = TENSOR_SHARE ** math.log2(shape.tensor)
    share = COMPUTE_SHARE if 0 < (accelerator.capability or 0) < _HOPPER else COMPUTE_SHARE_HOPPER
    cached = (fit.kv_cache_per_rank or 0) * shape.data / (fit.kv_cache_tokens or 1)
    return _Machine(
        operations * share * split,
        accelerator.bandwidth * BANDWIDTH_SHARE * split,
        loaded.value,
        fit.kv_bytes_per_token or cached,
    )


def _operations(spec: LLMDeploymentSpec, accelerator: Accelerator, facts: ModelFacts) -> float | None:
    """Return the operations a second in the type that matrices are multiplied in.

    That is 8 bits only where weights and activations both are: fp8. Everything else is widened to 16 bits first.
    """
    said = dict(accelerator.flops)
    method = (facts.quantization or "") if spec.engine.quantization == "auto" else spec.engine.quantization
    narrow = said.get("fp8") if "fp8" in method else None
    return narrow or said.get("bf16") or said.get("fp16")


def _step(shape: Shape, machine: _Machine, does: Work, requests: int, length: float) -> float:
    """Return the seconds of one step of a stage, in which each request gets a token."""
    computed = 2 * does.active * requests / shape.width / machine.operations
    read = does.read(machine.weights, shape, requests) / machine.bandwidth
    return max(computed, read) + requests * length * machine.cached / machine.bandwidth + OVERHEAD


def _first(shape: Shape, machine: _Machine, facts: ModelFacts, does: Work, prompt: int) -> float:
    """Return the seconds that a prompt takes through all stages, one after the other."""
    computed = (2 * does.active * prompt + attention(facts, prompt)) / shape.tensor / machine.operations
    return FIRST_OVERHEAD + max(computed, shape.pipeline * _step(shape, machine, does, 1, prompt / 2))


def _pair(shape: Shape, machine: _Machine, facts: ModelFacts, longest: int) -> float:
    """Return the seconds of the whole replica that a pair of tokens takes: of the longest prompt, where they count."""
    operations = attention(facts, longest) / (longest * longest / 2)
    return operations / shape.tensor / machine.operations / shape.pipeline / shape.data


def _at_once(spec: LLMDeploymentSpec, accelerator: Accelerator) -> int:
    """Return how many requests an engine computes at once: vLLM's own default depends on the accelerator."""
    if spec.engine.max_num_seqs:
        return spec.engine.max_num_seqs
    large = (accelerator.memory_bytes or 0) >= _LARGE and "a100" not in accelerator.type
    return _MANY if large else _FEW


def _shortened(prompt: int, answer: int, longest: int | None) -> tuple[int, int]:
    if longest is None or prompt + answer <= longest:
        return prompt, answer
    answer = min(answer, max(1, longest // 5))
    return max(1, longest - answer), answer


def _bounded(rate: float) -> Estimate:
    return Estimate(rate, rate * LOW, rate * HIGH)


def _between(bounds: Estimate) -> str:
    return f"{_short(bounds.low)} to {_short(bounds.high)}"


def _short(number: float) -> str:
    """Return a number as short as it is certain: two digits that mean something."""
    return f"{float(f'{number:.2g}'):.10g}"
