"""The KV cache of a deployment: which layers, how wide, how long, in blocks of how many tokens. Pure; fit.py asks.

Block sizes are vLLM's defaults by attention: 16 tokens, 64 for latent attention on GPUs (FlashMLA), 128 on CPU.
A checkpoint's own type of cache wins over the activations', and the spec over both.
"""

from manta_operator.api.models import EngineSpec, LLMDeploymentSpec
from manta_operator.facts.accelerators import Accelerator
from manta_operator.facts.caches.layers import Cache
from manta_operator.facts.models import ModelFacts
from manta_operator.planning import dtypes
from manta_operator.planning.memory import drafts, engine_version, overhead
from manta_operator.planning.memory.engine_version import Version
from manta_operator.planning.memory.kv_groups import Pool, Use, pool
from manta_operator.planning.memory.kv_widths import Widths
from manta_operator.planning.shape import Shape

_BLOCK, _LATENT_BLOCK, _CPU_BLOCK = 16, 64, 128
_ONE_MORE_LAYER = ("mtp", "eagle", "eagle3", "dflash", "dspark")
"""Ways of guessing whose head keeps a cache like one more layer of the model."""
_SPARSE_FP8 = "GlmMoeDsaForCausalLM"
"""Takes an fp8 cache by itself on Blackwell (model_executor/models/config.py)."""
_BLACKWELL = (100, 103)


def pool_of(
    spec: LLMDeploymentSpec, facts: ModelFacts, shape: Shape, on: Accelerator, length: int, version: Version
) -> Pool | None:
    """Return the blocks of one rank; None for a model that keeps nothing.

    Args:
        spec: The deployment.
        facts: Of a model whose caches are all counted (`unmodelled` is None).
        shape: How a replica is cut.
        on: What the engine computes on.
        length: Of the longest request, in tokens.
        version: Of vLLM.
    """
    caches, engine = layers(spec.engine, facts), spec.engine
    chunked = any(cache.kind == "chunked" for cache in caches)
    tokens = overhead.tokens_of_step(spec, shape, on, length, version)
    use = Use(
        length=length,
        in_flight=tokens * engine_version.steps_in_flight(version, shape.pipeline, on),
        guessed=engine.speculative.tokens if engine.speculative else 0,
        cached_prefixes=engine.prefix_caching and engine_version.states_are_cached(version),
        hybrid=not chunked or engine_version.chunks_are_freed(version),
    )
    return pool(caches, widths(engine, facts, shape, on), use, shape.pipeline)


def layers(engine: EngineSpec, facts: ModelFacts) -> tuple[Cache, ...]:
    """Return what each layer keeps, and the layers that guess."""
    one = Cache("full", facts.kv_heads, facts.head_dim, facts.head_dim)
    if facts.latent_dim:
        one = Cache("latent", 1, latent=facts.latent_dim)
    caches = (*(facts.caches or (one,) * facts.layers), *drafts.caches(engine))
    attending = [cache for cache in caches if cache.kind in ("full", "latent")]
    if engine.speculative is None or engine.speculative.method not in _ONE_MORE_LAYER or not attending:
        return caches
    return (*caches, attending[-1])


def widths(engine: EngineSpec, facts: ModelFacts, shape: Shape, on: Accelerator) -> Widths:
    """Return how wide cached values are on one rank."""
    dtype = (facts.kv_cache_dtype or "auto") if engine.kv_cache_dtype == "auto" else engine.kv_cache_dtype
    if dtype == "auto" and facts.architecture == _SPARSE_FP8 and on.capability in _BLACKWELL:
        dtype = "fp8_e4m3"
    return Widths(shape.tensor, dtype, dtypes.width(engine, facts, on), _block(engine, facts, on), on.capability)


def _block(engine: EngineSpec, facts: ModelFacts, on: Accelerator) -> int:
    asked = [flag.partition("=")[2] for flag in engine.args if flag.startswith("--block-size=")]
    if asked and asked[-1].isdecimal() and int(asked[-1]):
        return int(asked[-1])
    latent = facts.latent_dim is not None
    if on.is_cpu:
        return _BLOCK if latent else _CPU_BLOCK
    return _LATENT_BLOCK if latent else _BLOCK
