"""Does the model fit in a shape? Pure arithmetic, before any pod starts.

    budget         = utilisation x memory of the accelerator                 bytes per rank
    weights        = of the fullest rank                                     planning/memory/weights.py
    overhead       = activations, collectives, CUDA graphs                   planning/memory/overhead.py
    KV cache       = budget - weights - overhead,  or what the spec gives it
    blocks         = KV cache / bytes per block                              planning/memory/kv_groups.py
    requests       = blocks / blocks of a request of maxModelLen tokens      vLLM calls it the maximum concurrency
    tokens         = data x requests x maxModelLen                           every data rank has a cache of its own
    fits           = the blocks of one data rank hold at least one request, and a state for each of maxNumSeqs

Weights and overhead are estimates with bounds. True: it fits by the point estimate. False: it fails even with the
least that both can be (overhead.at_least), for False deploys nothing. Between, and where the checkpoint cannot be seen
or holds what is not counted, the fit is Unknown and says why.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from manta_operator.api.adapters import LoraSpec
from manta_operator.api.models import EngineSpec, LLMDeploymentSpec
from manta_operator.api.quantity import parse_quantity
from manta_operator.facts.accelerators import Accelerator, find
from manta_operator.facts.models import ModelFacts
from manta_operator.planning import context, fit_words
from manta_operator.planning.estimate import Estimate
from manta_operator.planning.fit_words import GIB, gib
from manta_operator.planning.memory import drafts, kv_of
from manta_operator.planning.memory.engine_version import CURRENT, Version, whole_model_is_checked
from manta_operator.planning.memory.kv_groups import Pool
from manta_operator.planning.memory.overhead import at_least, overhead, requests_of_step
from manta_operator.planning.memory.weights import on_rank
from manta_operator.planning.shape import Shape

__all__ = ["GIB", "Fit", "accelerator_of", "gib", "judge", "kv_bytes_per_token", "kv_cache_setting"]

CPU_PROCESS_OVERHEAD = int(1.5 * GIB)
"""Resident memory of API server, engine core and one worker on CPU beyond weights and KV cache: 1.4 GiB measured."""
CPU_DATA_OVERHEAD = int(1.5 * GIB)
"""What data ranks take beside that in the head's pod: vLLM's coordinator and an engine core each, 1.3 GiB measured."""
CPU_KV_CACHE = 1 * GIB
"""KV cache per rank on CPU where the spec names none. vLLM's own default takes half of the machine."""
_NONE = Estimate(0.0, 0.0, 0.0)
_ANY_GPU = Accelerator("any", "nvidia.com/gpu", None, ())


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
    at_most: float | None = None
    """How many of these it can hold with the least overhead that there is: what a refusal has to be held against."""
    margin_per_rank: int | None = None
    """Bytes of KV cache beyond what one request of maxModelLen tokens needs; negative: what is missing."""
    basis: str = ""
    """What the facts were read from: "checkpoint", "catalog" or "config.json"; "" where there are none."""


def accelerator_of(spec: LLMDeploymentSpec, extra: Mapping[str, Accelerator] | None = None) -> Accelerator:
    """Return what the engines compute on; `extra` are a user's own. Raises KeyError for a type that nobody knows."""
    said = spec.accelerator
    memory = None if said.memory is None else int(parse_quantity(said.memory))
    return find(said.type, said.resource, memory, extra)


def judge(
    spec: LLMDeploymentSpec,
    shape: Shape,
    accelerator: Accelerator,
    facts: ModelFacts | None,
    version: Version = CURRENT,
) -> Fit:
    """Say whether the model fits in this shape on this accelerator, and a draft beside it."""
    if facts is None:
        return Fit("Unknown", fit_words.unseen(spec))
    fit, why = _judged(spec, shape, accelerator, facts, version), drafts.uncounted(spec.engine)
    if fit.fits != "True" or why is None:
        return fit
    uncounted = replace(fit, kv_cache_tokens=None, tokens=None, concurrency=None, at_most=None, margin_per_rank=None)
    return replace(uncounted, fits="Unknown", message=f"{why}; without that, {fit.message}")


def _judged(
    spec: LLMDeploymentSpec, shape: Shape, accelerator: Accelerator, facts: ModelFacts, version: Version
) -> Fit:
    room_for_adapters = spec.engine.lora or (LoraSpec() if spec.model.adapters else None)
    weights = on_rank(
        spec.engine, facts, shape, lora=room_for_adapters, draft=drafts.known(spec.engine), on=accelerator
    )
    if isinstance(weights, str):
        return Fit("Unknown", weights, basis=facts.basis)
    length, size = context.length(spec.engine, facts), int(weights.value)
    if accelerator.memory_bytes is None and not accelerator.is_cpu:
        message = fit_words.unsized(accelerator, size)
        return Fit("Unknown", message, size, None, None, length, basis=facts.basis)
    beside, least = _beside(_Asked(spec, shape, accelerator, facts, version), length)
    cache = _kv_cache(spec.engine, accelerator, weights + beside)
    most = _kv_cache(spec.engine, accelerator, Estimate.within(weights.low + least, 0)).value
    counted = Fit(
        fits="Unknown",
        message="",
        weights_per_rank=size,
        kv_cache_per_rank=max(0, int(cache.value)),
        max_model_len=length,
        memory_per_pod=_memory_per_pod(shape, size, int(cache.value)) if accelerator.is_cpu else None,
        overhead_per_rank=None if accelerator.is_cpu else beside,
        kv_cache=cache,
        basis=facts.basis,
    )
    fixed = kv_cache_setting(spec.engine, accelerator)
    if facts.unmodelled and most > 0:
        return replace(counted, message=fit_words.unmodelled(facts.unmodelled, size, cache))
    if most <= 0 or facts.unmodelled:
        return replace(
            counted,
            fits="False",
            message=fit_words.no_room(counted, accelerator, 0 if fixed else spec.engine.gpu_memory_utilization, fixed),
        )
    pool = kv_of.pool_of(spec, facts, shape, accelerator, length, version)
    if pool is None:
        return replace(counted, fits="True", message=fit_words.stateless(size, accelerator))
    return _verdict(counted, pool, _Asked(spec, shape, accelerator, facts, version), most)


@dataclass(frozen=True)
class _Asked:
    """What a verdict is about."""

    spec: LLMDeploymentSpec
    shape: Shape
    accelerator: Accelerator
    facts: ModelFacts
    version: Version

    @property
    def states(self) -> int:
        """The sequences that must each have a block where layers are recurrent: CUDA graphs of decoding need them."""
        if self.spec.engine.enforce_eager or self.accelerator.is_cpu:
            return 1
        return requests_of_step(self.spec, self.shape, self.accelerator, self.version)

    @property
    def stages(self) -> int:
        """How many stages' worth of cache vLLM asks one stage for."""
        return self.shape.pipeline if whole_model_is_checked(self.version) else 1


def _beside(asked: _Asked, length: int) -> tuple[Estimate, float]:
    """Return what a rank takes beside weights and KV cache, and what it takes of that for certain."""
    if asked.accelerator.is_cpu:
        return _NONE, 0.0
    about = (asked.spec, asked.facts, asked.shape, asked.accelerator, length, asked.version)
    return overhead(*about), at_least(*about)


def _verdict(counted: Fit, pool: Pool, asked: _Asked, most: float) -> Fit:
    """Compare the blocks that there are with those that are needed: by the estimate, and by the `most` bytes."""
    cache, length = counted.kv_cache or _NONE, counted.max_model_len or 1
    needed = max(pool.request_blocks * asked.stages, asked.states if pool.states else 1)
    blocks = Estimate(*(_blocks(size, pool) for size in (cache.value, cache.low, cache.high)))
    fits: Literal["True", "False", "Unknown"] = "Unknown"
    if blocks.value >= needed:
        fits = "True"
    elif _blocks(most, pool) < needed:
        fits = "False"
    concurrency = asked.shape.data * blocks.value / pool.request_blocks
    tokens = blocks.times(asked.shape.data * length / pool.request_blocks)
    judged = replace(
        counted,
        fits=fits,
        kv_cache_tokens=int(tokens.value),
        tokens=tokens,
        kv_bytes_per_token=round(pool.token_bytes),
        concurrency=round(concurrency, 2),
        at_most=asked.shape.data * _blocks(most, pool) / pool.request_blocks,
        margin_per_rank=int(cache.value) - pool.request_bytes * asked.stages,
    )
    fixed = kv_cache_setting(asked.spec.engine, asked.accelerator)
    share = 0 if fixed else asked.spec.engine.gpu_memory_utilization
    said = fit_words.Told(
        judged, asked.accelerator, asked.shape.data, pool, int(blocks.value), asked.states, share, most, fixed
    )
    return replace(judged, message=fit_words.sentence(said))


def _blocks(size: float, pool: Pool) -> float:
    return float(max(0, size) // pool.bytes_per_block)


def kv_bytes_per_token(engine: EngineSpec, shape: Shape, facts: ModelFacts) -> float:
    """Bytes of KV cache that one more token of a long request takes on one rank of a GPU."""
    spec = LLMDeploymentSpec.model_construct(engine=engine)
    pool = kv_of.pool_of(spec, facts, shape, _ANY_GPU, 1, CURRENT)
    return 0.0 if pool is None else pool.token_bytes


def kv_cache_setting(engine: EngineSpec, accelerator: Accelerator) -> int | None:
    """Bytes of KV cache per rank that are fixed beforehand; None where vLLM takes what its utilisation leaves."""
    if engine.kv_cache_memory is not None:
        return int(parse_quantity(engine.kv_cache_memory))
    return CPU_KV_CACHE if accelerator.is_cpu else None


def _kv_cache(engine: EngineSpec, accelerator: Accelerator, taken: Estimate) -> Estimate:
    """What is left for the cache, or what the spec gives it; less than 0 where that does not fit beside the rest."""
    fixed, memory = kv_cache_setting(engine, accelerator), accelerator.memory_bytes
    if fixed is None:
        return taken.left_of((memory or 0) * engine.gpu_memory_utilization // 100)
    if memory is None:
        return Estimate.within(fixed, 0)
    beyond = taken.left_of(memory - fixed)
    return Estimate(*(fixed if left >= 0 else left for left in (beyond.value, beyond.low, beyond.high)))


def _memory_per_pod(shape: Shape, weights: int, cache: int) -> int:
    data = CPU_DATA_OVERHEAD if shape.data > 1 else 0
    return shape.per_pod * (weights + max(0, cache) + CPU_PROCESS_OVERHEAD) + data
