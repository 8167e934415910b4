"""What a rank takes beside weights and KV cache. Pure; the fit's second term.

    overhead = context + peak of a step + CUDA graphs

    context  the CUDA context and libraries, NCCL and the buffers of collectives       by ranks, generation and version
             (ranks: that share layers, pass them on, or share experts)
    peak     the largest of what the profiling run does one after the other:
        forward    tokens x 2 bytes x (3 x intermediate / tensor + 3 x hidden), and for experts their workspaces
        sampling   requests x vocabulary x bytes of a logit                            engine_version.sampler_bytes
        tower      patches x 2 bytes x (3 x intermediate / tensor + 3 x hidden) / 2    an item of the largest size
    graphs   0.4 GiB + 7 MiB x layers x captured sizes / 51                            from 0.20 on in the budget

Sources: the order of the run is vLLM's (v1/worker/gpu_worker.py, determine_available_memory; gpu_model_runner.py,
profile_run). The factors of `forward` are what a gated MLP holds at its widest, and explain V0's growth with the
context to 2 %. Workspaces of experts: fused_moe.py, and deep_gemm_moe.py for weights in blocks. Context, graphs and
the bytes of a logit are medians over the start-ups in benchmarks/fit, whose spread the bounds are: nine in ten.
"""

import math

from manta_operator.api.models import LLMDeploymentSpec
from manta_operator.facts.accelerators import Accelerator
from manta_operator.facts.models import ModelFacts
from manta_operator.facts.steps import Tower
from manta_operator.planning import dtypes
from manta_operator.planning.estimate import Estimate
from manta_operator.planning.memory import engine_version
from manta_operator.planning.memory.engine_version import Version
from manta_operator.planning.shape import Shape

_GIB = 2**30
_WIDTH = 2
"""Bytes of an activation: 16 bit, whatever the weights are, unless all is float32."""
_HOPPER = 90
_CAPTURED = 51
"""Sizes that vLLM captures for 256 requests and more: 1, 2, 4, then in steps of 8 and of 16 to 512."""
_NO_TOWER = ("--language-model-only", "--skip-mm-profiling", "--limit-mm-per-prompt")


def tokens_of_step(spec: LLMDeploymentSpec, shape: Shape, on: Accelerator, length: int, version: Version) -> int:
    """Return the most tokens that one step computes."""
    engine = spec.engine
    if engine.max_num_batched_tokens is not None:
        return engine.max_num_batched_tokens
    tokens = engine_version.most_tokens(version, on, length, shape.width)
    return max(tokens, length) if engine.chunked_prefill is False else tokens


def requests_of_step(spec: LLMDeploymentSpec, shape: Shape, on: Accelerator, version: Version) -> int:
    """Return the most requests that one step computes."""
    return spec.engine.max_num_seqs or engine_version.most_requests(version, on, shape.width)


def overhead(
    spec: LLMDeploymentSpec, facts: ModelFacts, shape: Shape, on: Accelerator, length: int, version: Version
) -> Estimate:
    """Return the bytes that a rank takes beside weights and KV cache, within the budget of its utilisation."""
    tokens = tokens_of_step(spec, shape, on, length, version)
    requests = requests_of_step(spec, shape, on, version)
    sampling = requests * facts.step.vocabulary * engine_version.sampler_bytes(version)
    forward = _forward(spec, facts, shape, on, tokens)
    peak = _largest(Estimate.within(sampling, 0.1), Estimate(forward, 0.7 * forward, 1.5 * forward))
    if facts.step.tower is not None and not any(flag.startswith(_NO_TOWER) for flag in spec.engine.args):
        peak = _largest(peak, _tower(facts.step.tower, tokens, shape))
    return _context(facts, shape, on, version) + peak + _graphs(spec, facts, on, requests, version)


def at_least(
    spec: LLMDeploymentSpec, facts: ModelFacts, shape: Shape, on: Accelerator, length: int, version: Version
) -> float:
    """Return the bytes that no start-up was below: a model is refused on these alone.

    A third of what the largest step takes, and nothing for context, graphs and towers, which vary most. Of 88 start-ups
    in benchmarks/fit one logged more KV cache than this leaves: more than its utilisation has beside its weights.
    """
    tokens, requests = tokens_of_step(spec, shape, on, length, version), requests_of_step(spec, shape, on, version)
    sampling = requests * facts.step.vocabulary * engine_version.sampler_bytes(version)
    return max(sampling, _forward(spec, facts, shape, on, tokens)) / 3


def _largest(one: Estimate, other: Estimate) -> Estimate:
    """The peak of what is done one after the other."""
    return Estimate(max(one.value, other.value), max(one.low, other.low), max(one.high, other.high))


def _forward(spec: LLMDeploymentSpec, facts: ModelFacts, shape: Shape, on: Accelerator, tokens: int) -> float:
    """Activations of a step; twice as wide where values are float32."""
    wide = max(1.0, dtypes.width(spec.engine, facts, on) / _WIDTH)
    return wide * (tokens * _token_bytes(facts, shape) + _experts_bytes(facts, shape, on, tokens))


def _token_bytes(facts: ModelFacts, shape: Shape) -> float:
    inner = 0 if facts.experts and facts.step.expert else facts.step.intermediate
    return _WIDTH * (3 * inner / shape.tensor + 3 * facts.hidden_size)


def _experts_bytes(facts: ModelFacts, shape: Shape, on: Accelerator, tokens: int) -> float:
    """Workspaces of the experts' kernels: rows of the chosen experts, twice; with DeepGEMM padded to 128 for each."""
    if not facts.experts or not facts.experts_per_token:
        return 0.0
    rows = tokens * facts.experts_per_token
    inner = (facts.step.expert or facts.step.intermediate) / (1 if shape.expert else shape.tensor)
    if facts.step.grouped and on.capability == _HOPPER:
        return (rows + 127 * facts.experts) * facts.hidden_size * (2 * _WIDTH + 1)
    return rows * _WIDTH * (max(2 * inner, facts.hidden_size) + inner)


def _tower(tower: Tower, tokens: int, shape: Shape) -> Estimate:
    """The run encodes one item of the largest size, or as many of a fixed size as a step has tokens for.

    Start-ups of Qwen's towers show 0.2 to 2.2 of what one layer holds, half of it most often: some versions take a
    smaller item than the largest.
    """
    patches = tower.most_patches
    if tower.patches:
        patches *= max(1, tokens * 4 // tower.patches)
    layer = float(patches * _WIDTH * (3 * tower.intermediate / shape.tensor + 3 * tower.hidden))
    return Estimate(0.5 * layer, 0.2 * layer, 2.2 * layer)


def _context(facts: ModelFacts, shape: Shape, on: Accelerator, version: Version) -> Estimate:
    """Context, libraries and the buffers of collectives.

    One rank: median 0.2 GiB. More: 0.3 GiB + 0.25 GiB x log2(ranks); since 0.17 2.1 GiB where ranks share memory over
    NVLink (all-reduce fused with the norms: capability 9.0 and 10.0). ROCm adds 2.4 GiB. Ranks are those that talk to
    each other: tensor x pipeline, and all data ranks of a model with experts, which they share.
    """
    if on.is_rocm:
        return Estimate(2.6, 1.0, 5.5).times(_GIB)
    ranks = shape.ranks if facts.experts else shape.width
    if ranks == 1:
        value = Estimate(0.2, 0.05, 0.8)
    elif shape.tensor > 1 and version >= (0, 17) and on.capability in (_HOPPER, 100, 103):
        value = Estimate(2.1, 1.6, 3.0)
    else:
        common = 0.3 + 0.25 * math.log2(ranks)
        value = Estimate(common, 0.5 * common, common + 1.7)
    return value.times(_GIB)


def _graphs(spec: LLMDeploymentSpec, facts: ModelFacts, on: Accelerator, requests: int, version: Version) -> Estimate:
    if spec.engine.enforce_eager or not engine_version.graphs_in_budget(version):
        return Estimate(0.0, 0.0, 0.0)
    most = min(2 * requests, 512)
    sizes = min(3 + min(most, 255) // 8 + max(0, most - 240) // 16, _CAPTURED)
    value = 0.4 + 0.007 * facts.layers * sizes / _CAPTURED
    return Estimate(value, 0.1, value + 1.0).times(3.5 * _GIB if on.is_rocm else _GIB)
