"""What each layer keeps, from a `config.json`: attention of all kinds, latents, states. Pure; `facts/models.py` asks.

Where the arithmetic would guess, the answer is a sentence that says what is not counted, and the fit is Unknown: a
wrong False would refuse a model that serves.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from manta_operator.facts.anatomy.fields import LAYERS_LIMIT
from manta_operator.facts.caches import kinds as patterns
from manta_operator.facts.caches import states
from manta_operator.facts.caches.layers import Cache

_NOT_COUNTED = {
    "compress_ratios": "caches that are compressed along the context (compress_ratios)",
    "rwkv_version": "the state of RWKV",
    "mb_per_layer": "layers that read the cache of other layers (mb_per_layer)",
    "cross_attention_layers": "cross-attention layers",
    "mixer_types": "layers of several mixers (mixer_types)",
}
_MODELS_NOT_COUNTED = ("rwkv", "phi4flash", "mllama", "plamo2", "qwen4", "longcat", "hunyuan_v4", "hy_v4")
_HEADS = ("n_head_kv", "num_kv_heads", "num_key_value_heads", "multi_query_group_num", "num_attention_groups")
"""Where vLLM looks for the KV heads, in its order (transformers_utils/model_arch_config_convertor.py)."""
_WINDOWS = ("sliding_window", "sliding_window_size", "attention_window_size")
_RECURRENT = ("mamba", "ssm", "rwkv", "linear_attn", "linear_key_head_dim", "linear_num_", "hybrid_override_pattern")


def read(config: Mapping[str, Any]) -> tuple[Cache, ...] | str:
    """Return what each layer of this decoder keeps, or what of it is not counted, in words."""
    layers = config.get("num_hidden_layers")
    if not isinstance(layers, int) or not 0 < layers <= LAYERS_LIMIT:
        return "a number of layers that is not known"
    if refused := _refused(config):
        return refused
    if isinstance(config.get("block_configs"), list):
        return _searched(config, config["block_configs"][: layers + 1])
    kinds = patterns.kinds(config, layers)
    if isinstance(kinds, str):
        return kinds
    if not {"recurrent", "both"} & set(kinds) and (hint := _recurrent_hint(config)):
        return f"the state of recurrent layers ({hint})"
    found = {kind: _cache(config, kind) for kind in set(kinds)}
    for value in found.values():
        if isinstance(value, str):
            return value
    measured = tuple(value for kind in kinds if isinstance(value := found[kind], Cache))
    return _shared(config, measured)


def _refused(config: Mapping[str, Any]) -> str | None:
    said = next((words for key, words in _NOT_COUNTED.items() if config.get(key)), None)
    if said is not None:
        return said
    if config.get("is_encoder_decoder"):
        return "the cross-attention of an encoder and decoder"
    model = str(config.get("model_type") or "")
    known = next((name for name in _MODELS_NOT_COUNTED if model.startswith(name)), None)
    return None if known is None else f"the cache of {known}"


def _recurrent_hint(config: Mapping[str, Any]) -> str | None:
    """What speaks of a recurrence in a configuration that does not say which layers have it."""
    names = [str(config.get("model_type") or ""), *(key for key, value in config.items() if value)]
    return next((name for name in names for word in _RECURRENT if word in name), None)


def _cache(config: Mapping[str, Any], kind: str) -> Cache | str:
    """Measure a layer of this kind."""
    if kind == "none":
        return Cache("none")
    state = states.read(config) if kind in ("recurrent", "both") else None
    if kind in ("recurrent", "both") and state is None:
        return f"the state of recurrent layers ({config.get('model_type') or 'no model_type'})"
    if kind == "recurrent":
        return Cache("recurrent", state=state)
    attention = _attention(config, "full" if kind == "both" else kind)
    return attention if isinstance(attention, str) else replace(attention, state=state)


def _attention(config: Mapping[str, Any], kind: str) -> Cache | str:
    if config.get("kv_lora_rank"):
        return _latent(config, kind)
    if config.get("index_topk"):
        return "sparse attention with an indexer"
    heads, size = _heads(config), _head_dim(config)
    value = config.get("v_head_dim") or size
    if kind == "window" and config.get("swa_num_key_value_heads"):  # MiMo-V2
        heads, size = config["swa_num_key_value_heads"], config.get("swa_head_dim") or size
        value = config.get("swa_v_head_dim") or value
    elif kind == "full" and config.get("global_head_dim"):  # Gemma 4
        size = value = config["global_head_dim"]
        heads = (config.get("attention_k_eq_v") and config.get("num_global_key_value_heads")) or heads
    if not config.get("num_attention_heads"):
        return Cache("full")  # which models.py refuses
    if not all(isinstance(number, int) and number > 0 for number in (heads, size, value)):
        return "attention whose KV heads differ from layer to layer"
    if kind == "full":
        return Cache("full", heads, size, value)
    return _within(config, Cache("chunked" if kind == "chunked" else "window", heads, size, value))


def _within(config: Mapping[str, Any], cache: Cache) -> Cache | str:
    names = ("attention_chunk_size",) if cache.kind == "chunked" else _WINDOWS
    window = next((config[name] for name in names if config.get(name)), None)
    if not isinstance(window, int) or window < 1:
        return f"a {cache.kind} of {window} tokens"
    return replace(cache, window=window)


def _latent(config: Mapping[str, Any], kind: str) -> Cache | str:
    """Multi-head latent attention (DeepSeek-V2, section 2.1), and the key cache of V3.2's indexer.

    The indexer's keys are 8 bits each with a float32 scale for 128 of them: 132 bytes for its head dimension of 128
    (model_executor/models/deepseek_v2.py, DeepseekV32IndexerCache).
    """
    rank, rotary = config["kv_lora_rank"], config.get("qk_rope_head_dim") or 0
    if kind != "full" or not isinstance(rank, int) or not isinstance(rotary, int):
        return f"latent attention of {kind} layers"
    size = config.get("index_head_dim") or 128
    if not isinstance(size, int):
        return f"an indexer of {size!r} (index_head_dim)"
    indexer = size + size // 128 * 4 if config.get("index_topk") else 0
    return Cache("latent", 1, latent=rank + rotary, indexer=indexer)


def _heads(config: Mapping[str, Any]) -> Any:
    if config.get("multi_query") and not config.get("new_decoder_architecture"):
        return 1
    inner = config.get("attn_config")
    if isinstance(inner, Mapping) and inner.get("kv_n_heads"):  # DBRX, MPT
        return inner["kv_n_heads"]
    found = next((config[name] for name in _HEADS if config.get(name) is not None), None)
    return config.get("num_attention_heads") if found is None else found


def _head_dim(config: Mapping[str, Any]) -> Any:
    said = config.get("head_dim") or config.get("hidden_size_per_head") or config.get("attention_head_dim")
    if said:
        return said
    hidden, heads = config.get("hidden_size"), config.get("num_attention_heads")
    return hidden // heads if isinstance(hidden, int) and isinstance(heads, int) and heads else None


def _searched(config: Mapping[str, Any], blocks: list[Any]) -> tuple[Cache, ...] | str:
    """Models whose layers an architecture search has chosen (Nemotron's DeciLM): some have no attention."""
    size, queries = _head_dim(config), config.get("num_attention_heads")
    found = []
    for block in blocks:
        attention = block.get("attention") if isinstance(block, Mapping) else None
        if not isinstance(attention, Mapping) or not isinstance(queries, int) or not isinstance(size, int):
            return "layers that an architecture search has chosen (block_configs)"
        share = attention.get("n_heads_in_group")
        if attention.get("no_op") or attention.get("replace_with_linear"):
            found.append(Cache("none"))
        elif isinstance(share, int) and share > 0:
            found.append(Cache("full", queries // share, size, size))
        else:
            return "layers that an architecture search has chosen (block_configs)"
    return tuple(found) if len(found) == config["num_hidden_layers"] else "as many block_configs as layers"


def _shared(config: Mapping[str, Any], caches: tuple[Cache, ...]) -> tuple[Cache, ...]:
    """The last layers of Gemma 3n and 4 read the cache of an earlier one."""
    shared = config.get("num_kv_shared_layers") or 0
    if not isinstance(shared, int) or not 0 < shared < len(caches):
        return caches
    return (*caches[:-shared], *(Cache("none"),) * shared)
