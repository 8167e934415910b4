"""Our blocks of the KV cache beside vLLM's own: its allocator is run on the layers of many models, without an engine.

Only what the allocator asks of a configuration is given to it. Importing it takes seconds, so all is in one module.
"""

import importlib.util
from types import SimpleNamespace
from typing import Any

import pytest

from manta_operator.facts.caches.layers import Cache, State
from manta_operator.planning.memory.kv_groups import Pool, Use, pool
from manta_operator.planning.memory.kv_widths import Widths, attention_bytes, state_bytes

pytestmark = pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vLLM is not installed")

GIB = 2**30
FULL = Cache("full", 8, 128, 128)
WINDOW = Cache("window", 8, 128, 128, 1024)
NARROW = Cache("window", 16, 64, 64, 512)
ODD = Cache("window", 3, 96, 96, 512)
CHUNK = Cache("chunked", 8, 128, 128, 8192)
LATENT = Cache("latent", 1, latent=576)
SPARSE = Cache("latent", 1, latent=576, indexer=132)
DELTA = Cache("recurrent", state=State("delta", 8192, 3, 32, 128 * 128, 4.0))
MAMBA = Cache("recurrent", state=State("mamba2", 6144, 3, 64, 64 * 128, 4.0, None, 8, 256))
WHOLE = Cache("full", 2, 256, 256)
BOTH = Cache("full", 2, 128, 128, state=State("mamba2", 6144, 3, 64, 64 * 128, 4.0, None, 8, 256))
UNEVEN = Cache("full", 4, 192, 128)
UNEVEN_WINDOW = Cache("window", 4, 192, 128, 128)
KDA = Cache("recurrent", state=State("kda", 12288, 3, 32, 128 * 128, 4.0))

MODELS: dict[str, tuple[Cache, ...]] = {
    "all full": (FULL,) * 32,
    "all windows": (WINDOW,) * 32,
    "heads that differ": (FULL, Cache("full", 4, 128, 128)) * 8,
    "five windows to one, padded": tuple(FULL if n % 6 == 5 else WINDOW for n in range(62)),
    "one to one": (WINDOW, FULL) * 12,
    "one more full": ((WINDOW, FULL) * 12) + (FULL,),
    "pages that go into each other": (FULL, NARROW, NARROW, NARROW) * 6,
    "pages that do not": (FULL, ODD, ODD) * 6,
    "chunks": (CHUNK, CHUNK, CHUNK, FULL) * 12,
    "latent": (LATENT,) * 27,
    "latent with an indexer": (SPARSE,) * 61,
    "gated delta net": (DELTA, DELTA, DELTA, WHOLE) * 12,
    "Mamba-2 among experts": (MAMBA, Cache("none"), MAMBA, Cache("none"), WHOLE) * 6,
    "two windows": (WINDOW, NARROW, FULL) * 4,
    "shared at the end": ((WINDOW, FULL) * 6) + (Cache("none"),) * 4,
    "attention and a state in every layer": (BOTH,) * 24,
    "values narrower than keys": tuple(UNEVEN if n % 6 == 5 else UNEVEN_WINDOW for n in range(48)),
    "latent with states": tuple(LATENT if n % 4 == 3 else KDA for n in range(27)),
}


def specs(caches: tuple[Cache, ...], widths: Widths, use: Use, block: int) -> dict[int, dict[str, Any]]:
    """The layers as vLLM's models describe them, on one rank, by the layer's number."""
    found: dict[int, dict[str, Any]] = {}
    for number, cache in enumerate(caches):
        found[number] = attention(number, cache, widths, block)
        if cache.state is not None:
            found[number][f"{number}.mamba"] = state(cache.state, caches, widths, use, block)
    return found


def attention(number: int, cache: Cache, widths: Widths, block: int) -> dict[str, Any]:
    torch = pytest.importorskip("torch")
    kv = pytest.importorskip("vllm.v1.kv_cache_interface")
    common = {
        "block_size": block,
        "num_kv_heads": max(1, -(-cache.heads // widths.tensor)),
        "dtype": torch.bfloat16 if widths.dtype == "auto" else torch.uint8,
    }
    if cache.kind == "latent":
        found = {f"{number}.mla": kv.MLAAttentionSpec(**common, head_size=cache.latent)}
        if cache.indexer:
            narrow = {"num_kv_heads": 1, "dtype": torch.uint8}
            found[f"{number}.indexer"] = kv.MLAAttentionSpec(**common | narrow, head_size=cache.indexer)
        return found
    sizes = {"head_size": cache.head_dim, "head_size_v": cache.value_dim}
    if cache.kind == "full":
        return {str(number): kv.FullAttentionSpec(**common, **sizes)}
    if cache.kind == "window":
        window = {"sliding_window": cache.window, "dcp_sharded": False}
        return {str(number): kv.SlidingWindowSpec(**common, **sizes, **window)}
    if cache.kind == "chunked":
        return {str(number): kv.ChunkedLocalAttentionSpec(**common, **sizes, attention_chunk_size=cache.window)}
    return {}


def state(own: State, caches: tuple[Cache, ...], widths: Widths, use: Use, block: int) -> Any:
    """The state of a layer: padded to the page of attention, where there is any (platforms/interface.py)."""
    torch = pytest.importorskip("torch")
    kv = pytest.importorskip("vllm.v1.kv_cache_interface")
    size = state_bytes(own, widths, use.guessed)
    page = max((attention_bytes(each, widths) * block for each in caches if each.heads), default=size)
    return kv.MambaSpec(
        block_size=use.length,
        shapes=((size,),),
        dtypes=(torch.uint8,),
        page_size_padded=int(page),
        num_speculative_blocks=use.guessed,
    )


def of_vllm(
    caches: tuple[Cache, ...], widths: Widths, use: Use, block: int, memory: int, stages: int = 1
) -> tuple[int, float]:
    """Blocks and concurrency by vLLM's allocator, of the stage that has fewest."""
    utils = pytest.importorskip("vllm.v1.core.kv_cache_utils")
    layouts = pytest.importorskip("vllm.v1.kv_cache_layout")
    config = SimpleNamespace(
        cache_config=SimpleNamespace(
            num_gpu_blocks_override=None,
            mamba_cache_mode="align" if use.cached_prefixes else "none",
            prefix_cache_retention_interval=None,
            kv_cache_layout="LBNHC",
            get_resolved_kv_cache_layout=lambda: layouts.KVCacheLayout.LBNHC,
        ),
        model_config=SimpleNamespace(max_model_len=use.length, original_max_model_len=use.length),
        scheduler_config=SimpleNamespace(disable_hybrid_kv_cache_manager=not use.hybrid),
        parallel_config=SimpleNamespace(decode_context_parallel_size=1, tensor_parallel_size=widths.tensor),
        attention_config=SimpleNamespace(hisparse_config=None),
        speculative_config=None,
        max_in_flight_tokens=use.in_flight,
        num_prefill_lookahead_tokens=0,
    )
    layers = specs(caches, widths, use, block)
    workers = [
        {name: spec for number in range(low, high) for name, spec in layers[number].items()}
        for low, high in (stage_of(len(caches), rank, stages) for rank in range(stages))
    ]
    found = utils.get_kv_cache_configs(config, workers, [memory] * stages)
    blocks = min(each.num_blocks for each in found)
    return blocks, min(utils.get_max_concurrency_for_kv_cache_config(config, each) for each in found)


def stage_of(layers: int, rank: int, stages: int) -> tuple[int, int]:
    """The first layer of a stage and the one after its last."""
    distributed = pytest.importorskip("vllm.distributed.utils")
    return distributed.get_pp_indices(layers, rank, stages)


def ours(caches: tuple[Cache, ...], widths: Widths, use: Use, stages: int = 1) -> Pool:
    found = pool(caches, widths, use, stages)
    assert found is not None
    return found


def block_of(caches: tuple[Cache, ...], widths: Widths, use: Use) -> int:
    """Tokens of a block once vLLM has lengthened it for states (platforms/interface.py, which needs a platform)."""
    states = [state_bytes(cache.state, widths, use.guessed) for cache in caches if cache.state]
    if not states:
        return widths.block
    token = min(attention_bytes(cache, widths) for cache in caches if cache.heads)
    step = max(128, widths.block) if any(cache.latent for cache in caches) else widths.block
    return step * -(-max(states) // int(step * token))


@pytest.mark.parametrize("length", [1000, 131_072])
@pytest.mark.parametrize("tensor", [1, 4])
@pytest.mark.parametrize("model", list(MODELS))
def test_blocks_are_those_of_vllm(model, tensor, length):
    caches, widths = MODELS[model], Widths(tensor, "auto", 2.0, 16)
    for use in (Use(length, 2 * 8192), Use(length, 2048, cached_prefixes=True), Use(length, 0, guessed=3)):
        found = ours(caches, widths, use)
        blocks, concurrency = of_vllm(caches, widths, use, block_of(caches, widths, use), 20 * GIB)
        assert 20 * GIB // found.bytes_per_block == blocks, use
        assert blocks / found.request_blocks == pytest.approx(concurrency), use


def test_without_the_hybrid_allocator_all_layers_keep_everything():
    caches, widths, use = MODELS["chunks"], Widths(1, "auto", 2.0, 16), Use(131_072, 8192, hybrid=False)
    blocks, concurrency = of_vllm(caches, widths, use, 16, 30 * GIB)
    found = ours(caches, widths, use)
    assert (30 * GIB // found.bytes_per_block, found.groups) == (blocks, 1)
    assert blocks / found.request_blocks == pytest.approx(concurrency)


@pytest.mark.parametrize("model", [name for name in MODELS if name != "latent with an indexer"])  # that is packed
def test_blocks_of_a_cache_in_8_bits_are_those_of_vllm(model):
    caches, widths, use = MODELS[model], Widths(2, "fp8", 2.0, 16), Use(8192, 2 * 8192)
    blocks, concurrency = of_vllm(caches, widths, use, block_of(caches, widths, use), 20 * GIB)
    found = ours(caches, widths, use)
    assert 20 * GIB // found.bytes_per_block == blocks
    assert blocks / found.request_blocks == pytest.approx(concurrency)


@pytest.mark.parametrize("stages", [2, 3, 4])
@pytest.mark.parametrize("model", [name for name in MODELS if name != "shared at the end"])  # never across stages
def test_blocks_of_a_pipeline_are_those_of_vllm(model, stages):
    caches, widths, use = MODELS[model], Widths(1, "auto", 2.0, 16), Use(8192, 2 * 8192)
    blocks, concurrency = of_vllm(caches, widths, use, block_of(caches, widths, use), 20 * GIB, stages)
    found = ours(caches, widths, use, stages)
    assert 20 * GIB // found.bytes_per_block == blocks
    assert blocks / found.request_blocks == pytest.approx(concurrency)
