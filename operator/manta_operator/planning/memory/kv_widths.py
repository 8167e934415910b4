"""How wide a cached value is on one rank: the types of KV caches, the heads of a rank, the states. Pure.

    attention   heads of a rank x (key + value) x bytes of a value, and a float32 scale of each where the type has them
    heads of a rank = max(1, KV heads / tensor)             fewer heads than ranks: vLLM copies them
    latent      latent dimension x bytes, on every rank     it has one head, so that there is nothing to share
    state       channels / tensor x (kernel - 1 + guessed) x bytes + heads / tensor x values of a head x bytes

Sources: vLLM 0.32, v1/kv_cache_interface.py, model_executor/layers/attention/mla_attention.py (656 and 352 bytes of
the packed formats), v1/attention/backends/triton_attn.py (scales), mamba_utils.py (states).
"""

import math
from dataclasses import dataclass

from manta_operator.facts.caches.layers import Cache, State

_VALUE_BYTES = {
    "bfloat16": 2.0,
    "float16": 2.0,
    "float32": 4.0,
    "int4_per_token_head": 0.5,
    "nvfp4": 0.5625,  # 4 bits, and one byte of scale for 16 of them
    "nvfp4_4over6": 0.5625,
    "nvfp4_ds_mla": 0.5625,
}
"""Bytes of one cached value; every other type takes one."""
_SCALE = 4
_PACKED = {"fp8_ds_mla": 656, "nvfp4_ds_mla": 352}
"""Bytes of a token in the packed formats of latent attention: 512 values, their scales, a rotary key in 16 bit."""
_BLACKWELL = 100


@dataclass(frozen=True)
class Widths:
    """What makes a cached value wide.

    `dtype` is the type of the KV cache in vLLM's words, "auto": `activation` bytes. `tensor` ranks share the heads;
    `block` tokens make a block; `capability` of the accelerator chooses the format of sparse latent attention.
    """

    tensor: int
    dtype: str
    activation: float
    block: int
    capability: int | None = None


def value_bytes(widths: Widths) -> float:
    """Return the bytes of one cached value."""
    return widths.activation if widths.dtype == "auto" else _VALUE_BYTES.get(widths.dtype, 1.0)


def attention_bytes(cache: Cache, widths: Widths) -> float:
    """Return what one token takes of one rank in a layer of attention, without the keys of an indexer."""
    if cache.latent:
        return _latent_bytes(cache, widths)
    heads = max(1, math.ceil(cache.heads / widths.tensor))
    scales = 2 * _SCALE if widths.dtype.endswith("_per_token_head") else 0
    return heads * ((cache.head_dim + cache.value_dim) * value_bytes(widths) + scales)


def _latent_bytes(cache: Cache, widths: Widths) -> float:
    """Sparse attention before Blackwell packs an fp8 cache (mla_attention.py): more bytes than 8 bits a value."""
    packed = _PACKED.get(widths.dtype)
    if packed is None and cache.indexer and widths.dtype.startswith("fp8") and (widths.capability or 0) < _BLACKWELL:
        packed = _PACKED["fp8_ds_mla"]
    return float(packed) if packed else cache.latent * value_bytes(widths)


def state_bytes(state: State, widths: Widths, guessed: int) -> int:
    """Return what the state of one sequence takes of one rank in a layer; `guessed` tokens lengthen the convolution."""
    copied = widths.tensor - state.groups if state.groups and state.groups % widths.tensor else 0
    convolution = (state.channels + copied * state.group_values) / widths.tensor * (state.length + guessed)
    conv_width = state.conv_width or widths.activation
    inner = state.heads / widths.tensor * state.per_head * (state.width or conv_width)
    return math.ceil(convolution * conv_width + inner)
