"""Which kind each decoder layer of a model is: what mixes its tokens, and what feeds them forward. Pure.

Families say it in many ways (a pattern of letters, a list of types, a period and an offset, the first few layers); the
names are those of their configurations, the meaning that of vLLM's models.
"""

from typing import Literal

from manta_operator.facts.anatomy.fields import Fields, Uncountable

Mixer = Literal["full", "latent", "follower", "delta", "kimi", "mamba1", "mamba2", "conv", "both", "none"]
"""A follower is latent attention that takes the choice of an earlier layer's indexer (GLM-5.2)."""
Feed = Literal["dense", "experts", "none"]

_LETTERS: dict[str, tuple[Mixer, Feed]] = {
    "M": ("mamba2", "none"),
    "*": ("full", "none"),
    "E": ("none", "experts"),
    "-": ("none", "dense"),
}
"""Nemotron-H: every block is one of these alone."""
_BLOCKS: dict[str, str] = {
    "mamba": "M",
    "mamba2": "M",
    "linear_attention": "M",  # what transformers 5.19 writes
    "attention": "*",
    "full_attention": "*",
    "moe": "E",
    "mlp": "-",
}
_TYPES: dict[str, Mixer] = {  # windows and chunks are a matter of the cache alone
    "attention": "full",
    "full_attention": "full",
    "sliding_attention": "full",
    "chunked_attention": "full",
    "deepseek_sparse_attention": "latent",
    "indexed_attention": "latent",
    "linear_attention": "delta",
    "mamba": "mamba2",
    "mamba2": "mamba2",
    "conv": "conv",
}
_INTERVAL = 4
"""Every fourth layer has full attention where a family with delta nets does not say (Qwen3NextConfig)."""


def kinds(fields: Fields) -> tuple[tuple[Mixer, Feed], ...]:
    """Return the mixer and the feed of every layer, in order. Raises Uncountable for words that nobody knows."""
    if letters := _letters(fields):
        unknown = set(letters) - set(_LETTERS)
        if unknown:
            raise Uncountable(f"config.json: hybrid_override_pattern has {sorted(unknown)}, which are not known")
        if len(letters) != fields.layers:
            raise Uncountable(f"config.json: hybrid_override_pattern is of {len(letters)} layers, not {fields.layers}")
        return tuple(_LETTERS[letter] for letter in letters)
    mixers, indexers = _mixers(fields, fields.layers), fields.listed("indexer_types")
    follows = [kind == "shared" for kind in indexers] + [False] * (len(mixers) - len(indexers))
    return tuple(
        ("follower" if mixer == "latent" and follows[index] else mixer, _feed(fields, index))
        for index, mixer in enumerate(mixers)
    )


def _letters(fields: Fields) -> str:
    pattern = fields.get("hybrid_override_pattern")
    if isinstance(pattern, str):
        return pattern
    blocks = fields.listed("layers_block_type")
    if blocks and fields.family == "nemotron_h":
        return "".join(_BLOCKS.get(str(block), "?") for block in blocks)
    return ""


def _mixers(fields: Fields, count: int) -> list[Mixer]:
    attention: Mixer = "latent" if fields.number("kv_lora_rank", default=0) else "full"
    if fields.family == "falcon_h1":
        return ["both"] * count
    if said := fields.within("linear_attn_config"):
        full = {index - 1 for index in said.listed("full_attn_layers")}
        return [attention if index in full else "kimi" for index in range(count)]
    if types := fields.listed("layer_types", "layers_block_type"):
        return [_typed(fields, str(kind), attention) for kind in types[:count]]
    if fields.get("linear_num_value_heads") is not None:
        interval = fields.number("full_attention_interval", default=_INTERVAL) or _INTERVAL
        return ["full" if (index + 1) % interval == 0 else "delta" for index in range(count)]
    if indices := fields.listed("attn_layer_indices", "full_attn_idxs"):
        other: Mixer = "mamba2" if fields.get("attn_layer_indices") else "conv"
        return ["full" if index in indices else other for index in range(count)]
    if period := fields.number("attn_layer_period", default=0):
        offset = fields.number("attn_layer_offset", default=0)
        return ["full" if index % period == offset else "mamba1" for index in range(count)]
    if any(kind != 1 for kind in fields.listed("attn_type_list")):
        raise Uncountable("config.json: attn_type_list has layers of lightning attention, which are not counted")
    if fields.get("ssm_state_size", "mamba_d_state", "state_size") is not None:
        raise Uncountable(f"layers of {fields.family or 'this family'} keep a state, and none says which do")
    return [attention] * count


def _typed(fields: Fields, kind: str, attention: Mixer) -> Mixer:
    if kind not in _TYPES:
        raise Uncountable(f"config.json: layer_types has {kind!r}, which is not known")
    if kind == "linear_attention" and fields.get("mamba_n_heads", "mamba_num_heads") is not None:
        return "mamba2"
    return attention if _TYPES[kind] == "full" else _TYPES[kind]


def _feed(fields: Fields, index: int) -> Feed:
    if not fields.experts:
        return "dense"
    if types := fields.listed("mlp_layer_types"):
        return "dense" if types[min(index, len(types) - 1)] == "dense" else "experts"
    return "experts" if _has_experts(fields, index) else "dense"


def _has_experts(fields: Fields, index: int) -> bool:
    if index < fields.number("first_k_dense_replace", "num_dense_layers", default=0):
        return False
    if index in fields.listed("mlp_only_layers"):
        return False
    if isinstance(chosen := fields.get("moe_layer_freq"), list):
        return index < len(chosen) and bool(chosen[index])
    if fields.get("moe_layers") is not None and fields.family.startswith("llama4"):
        return index in fields.listed("moe_layers")
    if fields.get("moe_layer_start_index") is not None:
        said = fields.get("moe_layer_end_index")
        last = said if isinstance(said, int) and said >= 0 else fields.layers - 1
        if not fields.number("moe_layer_start_index") <= index <= last:
            return False
    if period := fields.number("expert_layer_period", default=0):
        return index % period == fields.number("expert_layer_offset", default=0)
    if step := fields.number("interleave_moe_layer_step", "decoder_sparse_step", "moe_layer_interval", default=1):
        return (index + 1) % step == 0 and index % (fields.number("moe_layer_freq", default=1) or 1) == 0
    return False
