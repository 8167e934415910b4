"""Does the model fit in a shape? Pure arithmetic, before any pod starts.

    budget         = utilisation x memory of the accelerator                 bytes per rank
    weights        = bytes of the loaded weights on the fullest rank   planning/weights.py
    KV per token   = 2 x layers/pipeline x max(1, KV heads/tensor) x head_dim x bytes
                     (fewer KV heads than ranks: vLLM replicates them)
                   = layers/pipeline x latent dimension x bytes        latent attention: every rank holds all of it
    KV cache       = budget - weights - overhead,  or what the spec gives it
    tokens         = data x KV cache / KV per token  every data rank has a cache of its own
    fits           = the KV cache of one data rank holds at least one request of maxModelLen tokens

The overhead is one constant here, with the range it was read from: this is the fit of step 1. False deploys nothing,
so it must be certain: where the checkpoint cannot be seen, or holds what is not counted, the fit is Unknown and says
why.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from manta_operator.api.models import EngineSpec, LLMDeploymentSpec
from manta_operator.api.quantity import parse_quantity
from manta_operator.facts.accelerators import OTHER, Accelerator, find
from manta_operator.facts.models import ModelFacts
from manta_operator.planning import context
from manta_operator.planning.estimate import Estimate
from manta_operator.planning.shape import Shape
from manta_operator.planning.weights import activation_bytes, bytes_per_rank, loaded_bytes

GIB = 2**30
DEVICE_OVERHEAD = 4 * GIB
"""Activations, CUDA graphs and what is not torch, per rank. Start-up logs of vLLM on H200 show 2.2 to 9 GiB."""
CPU_PROCESS_OVERHEAD = int(1.5 * GIB)
"""Resident memory of API server, engine core and one worker on CPU beyond weights and KV cache: 1.4 GiB measured."""
CPU_DATA_OVERHEAD = int(1.5 * GIB)
"""What data ranks take beside that in the head's pod: vLLM's coordinator and an engine core each, 1.3 GiB measured."""
CPU_KV_CACHE = 1 * GIB
"""KV cache per rank on CPU where the spec names none. vLLM's own default takes half of the machine."""

_KV_BYTES = {
    "bfloat16": 2.0,
    "float16": 2.0,
    "int4_per_token_head": 0.5,
    "nvfp4": 0.5625,
    "nvfp4_4over6": 0.5625,
    "nvfp4_ds_mla": 0.5625,
}
"""Bytes of one cached value; every other type takes one."""


@dataclass(frozen=True)
class Fit:
    """The verdict and its numbers, in bytes per rank and tokens per replica; None where unknown."""

    fits: Literal["True", "False", "Unknown"]
    message: str
    weights_per_rank: int | None = None
    kv_cache_per_rank: int | None = None
    kv_cache_tokens: int | None = None
    max_model_len: int | None = None
    memory_per_pod: int | None = None
    """Host memory one engine pod asks for when the spec does not say; only on CPU."""
    overhead_per_rank: Estimate | None = None
    """What a rank takes beside weights and KV cache: activations, CUDA graphs, NCCL and the like."""
    kv_cache: Estimate | None = None
    """`kv_cache_per_rank` with its bounds."""
    tokens: Estimate | None = None
    """`kv_cache_tokens` with its bounds."""
    kv_bytes_per_token: int | None = None
    """Bytes that one more token of a long request takes on one rank."""
    concurrency: float | None = None
    """How many requests of maxModelLen tokens a replica holds at once."""
    margin_per_rank: int | None = None
    """Bytes of KV cache beyond what one request of maxModelLen tokens needs; negative: what is missing."""
    basis: str = ""
    """What the facts were read from: "checkpoint", "catalog" or "config.json"; "" where there are none."""


def accelerator_of(spec: LLMDeploymentSpec, extra: Mapping[str, Accelerator] | None = None) -> Accelerator:
    """Return what the engines compute on; `extra` are a user's own. Raises KeyError for a type that nobody knows."""
    said = spec.accelerator
    memory = None if said.memory is None else int(parse_quantity(said.memory))
    return find(said.type, said.resource, memory, extra)


def judge(spec: LLMDeploymentSpec, shape: Shape, accelerator: Accelerator, facts: ModelFacts | None) -> Fit:
    """Say whether the model fits in this shape on this accelerator."""
    if facts is None:
        return Fit("Unknown", _unseen(spec))
    loaded = loaded_bytes(spec.engine, facts)
    if isinstance(loaded, str):
        return Fit("Unknown", loaded)
    length = context.length(spec.engine, facts)
    weights = bytes_per_rank(loaded, shape, facts)
    if accelerator.memory_bytes is None and not accelerator.is_cpu:
        return Fit("Unknown", _unsized(accelerator, weights), weights, None, None, length)
    cache = _kv_cache(spec.engine, accelerator, weights)
    memory = _memory_per_pod(shape, weights, cache) if accelerator.is_cpu else None
    if facts.unmodelled and cache > 0:
        message = f"not modelled yet: {facts.unmodelled}; per rank {gib(weights)} of weights leave {gib(cache)} for it"
        return Fit("Unknown", message, weights, cache, None, length, memory)
    tokens = 0 if facts.unmodelled else max(0, int(cache // kv_bytes_per_token(spec.engine, shape, facts)))
    fits = cache > 0 and tokens >= (length or 1)
    return Fit(
        fits="True" if fits else "False",
        message=_sentence(weights, cache, tokens, length, accelerator) + (_each(shape) if cache > 0 else ""),
        weights_per_rank=weights,
        kv_cache_per_rank=max(0, cache),
        kv_cache_tokens=shape.data * tokens,
        max_model_len=length,
        memory_per_pod=memory,
    )


def kv_bytes_per_token(engine: EngineSpec, shape: Shape, facts: ModelFacts) -> float:
    """Bytes of KV cache one token needs on one rank."""
    dtype = (facts.kv_cache_dtype or "auto") if engine.kv_cache_dtype == "auto" else engine.kv_cache_dtype
    width = activation_bytes(engine, facts) if dtype == "auto" else _KV_BYTES.get(dtype, 1.0)
    values = facts.latent_dim or 2 * max(1.0, facts.kv_heads / shape.tensor) * facts.head_dim
    return math.ceil(facts.layers / shape.pipeline) * values * width


def kv_cache_setting(engine: EngineSpec, accelerator: Accelerator) -> int | None:
    """Bytes of KV cache per rank that are fixed beforehand; None where vLLM takes what its utilisation leaves."""
    if engine.kv_cache_memory is not None:
        return int(parse_quantity(engine.kv_cache_memory))
    return CPU_KV_CACHE if accelerator.is_cpu else None


def _kv_cache(engine: EngineSpec, accelerator: Accelerator, weights: int) -> int:
    fixed = kv_cache_setting(engine, accelerator)
    if fixed is None and accelerator.memory_bytes is not None:
        return accelerator.memory_bytes * engine.gpu_memory_utilization // 100 - weights - DEVICE_OVERHEAD
    free = accelerator.memory_bytes
    if free is not None and fixed is not None and weights + fixed + DEVICE_OVERHEAD > free:
        return free - weights - DEVICE_OVERHEAD - fixed  # negative: the asked cache does not fit beside the weights
    return fixed or 0


def _memory_per_pod(shape: Shape, weights: int, cache: int) -> int:
    data = CPU_DATA_OVERHEAD if shape.data > 1 else 0
    return shape.per_pod * (weights + max(0, cache) + CPU_PROCESS_OVERHEAD) + data


def _each(shape: Shape) -> str:
    return f", in each of {shape.data} data ranks" if shape.data > 1 else ""


def _sentence(weights: int, cache: int, tokens: int, length: int | None, accelerator: Accelerator) -> str:
    name = accelerator.resource if accelerator.type == OTHER else accelerator.type
    where = "" if accelerator.memory_bytes is None else f" of {gib(accelerator.memory_bytes)} on {name}"
    if cache <= 0:
        return f"per rank {gib(weights)} of weights{where} leave no room for a KV cache (short of {gib(-cache)})"
    context = f", {tokens / length:.1f} requests of {length} tokens" if length else ""
    return f"per rank {gib(weights)} of weights and {gib(cache)} of KV cache{where}: {tokens} tokens{context}"


def gib(size: float) -> str:
    """Format bytes for people: MiB below one GiB."""
    return f"{size / GIB:.1f} GiB" if size >= GIB else f"{size / 2**20:.1f} MiB"


def _unseen(spec: LLMDeploymentSpec) -> str:
    uri, unchecked = spec.model.uri, ""
    if spec.engine.quantization == "none":
        unchecked = ", nor whether it is quantized (spec.engine.quantization: none)"
    here = " (is it elsewhere on this machine? --map says where)" if uri.startswith("file://") else ""
    return f"the checkpoint {uri} cannot be seen from here{here}: whether it fits is not checked{unchecked}"


def _unsized(accelerator: Accelerator, weights: int) -> str:
    return (
        f"per rank {gib(weights)} of weights; the memory of {accelerator.resource} is not known, so that whether they "
        "fit is not checked: set spec.accelerator.memory"
    )
