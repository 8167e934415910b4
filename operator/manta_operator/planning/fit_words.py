"""What the fit says, in sentences. Pure; fit.py has the numbers."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from manta_operator.api.models import LLMDeploymentSpec
from manta_operator.facts.accelerators import OTHER, Accelerator
from manta_operator.planning.estimate import Estimate
from manta_operator.planning.memory.kv_groups import Pool

if TYPE_CHECKING:
    from manta_operator.planning.fit import Fit

GIB = 2**30
_FREE_AT_START = 99
"""Percent: start-ups saw 98.0 to 99.2 % of the memory of H100, H200, A100 and B300 free (benchmarks/fit)."""


def gib(size: float) -> str:
    """Format bytes for people: MiB below one GiB."""
    return f"{size / GIB:.1f} GiB" if abs(size) >= GIB else f"{size / 2**20:.1f} MiB"


@dataclass(frozen=True)
class Told:
    """What a verdict's sentence is made of.

    `states`: the sequences that recurrent layers need a block for; `share` of the memory that is asked for, in percent,
    0 where the cache has a size of its own; `most`: the bytes of KV cache that there are with the least overhead;
    `fixed`: what kvCacheMemory asks for.
    """

    fit: "Fit"
    accelerator: Accelerator
    data: int
    pool: Pool
    blocks: int
    states: int
    share: int
    most: float
    fixed: int | None = None


def sentence(told: Told) -> str:
    """Say what a rank holds and what that is good for; then why it is not, or not certainly, enough."""
    fit, cache = told.fit, told.fit.kv_cache or Estimate(0.0, 0.0, 0.0)
    weights, length = fit.weights_per_rank or 0, fit.max_model_len
    if cache.value <= 0:
        return no_room(fit, told.accelerator, told.share, told.fixed) + _doubt(told)
    requests = f", {(fit.concurrency or 0) / told.data:.1f} requests of {length} tokens" if length else ""
    each = f", in each of {told.data} data ranks" if told.data > 1 else ""
    tokens = int((fit.kv_cache_tokens or 0) / told.data)
    return (
        f"per rank {gib(weights)} of weights and {gib(cache.value)} of KV cache{_where(told.accelerator)}: "
        f"{tokens} tokens{requests}{each}{_doubt(told)}"
    )


def _doubt(told: Told) -> str:
    """Why this is not a plain yes."""
    fit, pool = told.fit, told.pool
    if fit.fits == "Unknown":
        low = fit.kv_cache.low if fit.kv_cache else 0.0
        return (
            f"; too close to call: it would just not fit, by {gib(-_margin(told))}, and the KV cache is certain to "
            f"{gib(low)} to {gib(told.most)} only"
        )
    if fit.fits == "False" and pool.states and pool.request_blocks <= told.blocks < told.states:
        return (
            f"; its recurrent layers keep a state for each sequence, and {told.blocks} blocks are fewer than the "
            f"{told.states} of maxNumSeqs: set spec.engine.maxNumSeqs to {told.blocks} or less"
        )
    if fit.fits == "True" and told.share >= _FREE_AT_START:
        return (
            f"; vLLM does not start where less than {told.share} % of the memory is free, which on most GPUs it is not"
        )
    low = 0 if fit.kv_cache is None else fit.kv_cache.low
    if fit.fits == "True" and low < pool.request_bytes:
        return f"; close: the KV cache is certain to {_spread(fit.kv_cache)} only"
    return ""


def _margin(told: Told) -> int:
    """Bytes that are missing (less than 0) for a request, or for a state of each sequence."""
    needed = max(told.pool.request_blocks, told.states if told.pool.states else 0) * told.pool.bytes_per_block
    return min(int((told.fit.kv_cache or Estimate(0.0, 0.0, 0.0)).value) - needed, told.fit.margin_per_rank or 0)


def _spread(cache: Estimate | None) -> str:
    return "nothing" if cache is None else f"{gib(cache.low)} to {gib(cache.high)}"


def no_room(fit: "Fit", accelerator: Accelerator, share: int, fixed: int | None) -> str:
    """Say how much of the `share` in percent is missing before there is a KV cache, or for one of a `fixed` size."""
    beside, cache = fit.overhead_per_rank, fit.kv_cache or Estimate(0.0, 0.0, 0.0)
    taken = f"{gib(fit.weights_per_rank or 0)} of weights"
    taken += "" if beside is None else f" and {gib(beside.value)} of activations, CUDA graphs and buffers"
    wanted = "" if fixed is None else f" of {gib(fixed)} (kvCacheMemory)"
    where = _where(accelerator, f"{share} % of " if share else "")
    return f"per rank {taken}{where} leave no room for a KV cache{wanted} (short of {gib(-cache.value)})"


def stateless(weights: int, accelerator: Accelerator) -> str:
    """Say what a model without any cache takes."""
    return f"per rank {gib(weights)} of weights{_where(accelerator)}, and no KV cache"


def unmodelled(what: str, weights: int, cache: Estimate) -> str:
    """Say what is not counted, and how much there is of what is."""
    return f"not modelled yet: {what}; per rank {gib(weights)} of weights leave {gib(max(0.0, cache.value))} for it"


def unseen(spec: LLMDeploymentSpec) -> str:
    """Say that nothing is known of the checkpoint."""
    uri, unchecked = spec.model.uri, ""
    if spec.engine.quantization == "none":
        unchecked = ", nor whether it is quantized (spec.engine.quantization: none)"
    here = " (is it elsewhere on this machine? --map says where)" if uri.startswith("file://") else ""
    return f"the checkpoint {uri} cannot be seen from here{here}: whether it fits is not checked{unchecked}"


def unsized(accelerator: Accelerator, weights: int) -> str:
    """Say that nobody knows the memory of the accelerator."""
    return (
        f"per rank {gib(weights)} of weights; the memory of {accelerator.resource} is not known, so that whether they "
        "fit is not checked: set spec.accelerator.memory"
    )


def _where(accelerator: Accelerator, share: str = "") -> str:
    name = accelerator.resource if accelerator.type == OTHER else accelerator.type
    return "" if accelerator.memory_bytes is None else f" of {share}{gib(accelerator.memory_bytes)} on {name}"
