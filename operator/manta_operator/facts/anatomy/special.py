"""Families whose layers do not follow from kinds of mixers and feeds alone. Pure; `config` asks here first.

Gemma 4        full layers with other heads than windowed ones, shared keys, embeddings of every layer
Llama 4        counted by kinds; only its table of positions is its own
DeepSeek-V4    compressed latent attention, hyper-connections between layers
"""

from collections.abc import Iterator
from dataclasses import replace

from manta_operator.facts.anatomy import attention, mlp
from manta_operator.facts.anatomy.fields import Fields, Uncountable
from manta_operator.facts.anatomy.parts import Weight, vector
from manta_operator.facts.anatomy.traits import Traits

Layer = tuple[Weight, ...]


def layers(fields: Fields, found: Traits) -> tuple[Layer, ...]:
    """Return the layers of one of these families; nothing for every other one."""
    if fields.family in ("gemma4", "gemma4_text"):
        return _gemma4(fields, found)
    if ratios := _ratios(fields):
        return _deepseek_v4(fields, found, ratios)
    return ()


def outside(fields: Fields) -> Iterator[Weight]:
    """Yield what such a family has beside its layers, more than others."""
    if fields.family in ("gemma4", "gemma4_text") and (size := fields.number("hidden_size_per_layer_input", default=0)):
        total = size * fields.layers
        vocabulary = fields.number("vocab_size_per_layer_input", "vocab_size")
        yield Weight("embed_tokens_per_layer", vocabulary, total, split="vocab", linear=False)
        yield Weight("per_layer_model_projection", total, fields.hidden)
        yield vector("per_layer_projection_norm", size)
    if _ratios(fields):
        many = fields.number("hc_mult", default=4)
        yield Weight("hc_head", many * many, fields.hidden, split="none", linear=False, dtype="float32")
        yield vector("hc_head.base", many + 1, "float32")


def _gemma4(fields: Fields, found: Traits) -> tuple[Layer, ...]:
    types, count = fields.listed("layer_types"), fields.layers
    if len(types) < count:
        raise Uncountable("config.json: layer_types should name the kind of every layer")
    shared = count - fields.number("num_kv_shared_layers", default=0)
    built: dict[tuple[str, bool], Layer] = {}
    for index, kind in enumerate(types[:count]):
        key = str(kind), index >= shared
        if key not in built:
            built[key] = tuple(_gemma4_layer(fields, found, *key, _own(fields, index)))
    return tuple(built[str(kind), index >= shared] for index, kind in enumerate(types[:count]))


def _own(fields: Fields, index: int) -> Fields:
    """Return what is said of one layer alone."""
    layers = fields.within("per_layer_config")
    return (layers and (layers.within(f"{index:02}") or layers.within(str(index)))) or Fields({})


def _gemma4_layer(fields: Fields, found: Traits, kind: str, shares: bool, own: Fields) -> Iterator[Weight]:
    """Yield one layer; `shares`: its keys and values are those of an earlier one."""
    full, experts = kind == "full_attention", fields.flag("enable_moe_block")
    size = fields.number("global_head_dim", "head_dim") if full else fields.number("head_dim")
    size = own.number("head_dim", default=size)
    heads = fields.number("num_key_value_heads")
    same = full and fields.flag("attention_k_eq_v")
    if same:
        heads = fields.number("num_global_key_value_heads", "num_key_value_heads")
    yield vector("norms", (7 if experts else 4) * fields.hidden)
    for weight in attention.grouped(fields, found, kv_heads=heads, head_dim=size):
        if shares and ("k_proj" in weight.name or "v_proj" in weight.name or "k_norm" in weight.name):
            continue
        yield replace(weight, made=True) if same and weight.name == "self_attn.v_proj" else weight
    wide = 2 if shares and fields.flag("use_double_wide_mlp") else 1
    yield from mlp.dense(fields, found, wide * fields.number("intermediate_size"))
    if experts:
        for weight in mlp.experts(fields, found):
            yield replace(weight, name=weight.name.removeprefix("mlp."))  # beside the dense block, not within
        yield vector("router.scales", fields.hidden + fields.experts)
    if size := fields.number("hidden_size_per_layer_input", default=0):
        yield Weight("per_layer_input_gate", size, fields.hidden, split="none")
        yield Weight("per_layer_projection", fields.hidden, size, split="none")
        yield vector("post_per_layer_input_norm", fields.hidden)


def _ratios(fields: Fields) -> list[int]:
    """Return how many tokens to one each layer of DeepSeek-V4 compresses (0: none); nothing for other families."""
    said = fields.listed("compress_ratios")
    if not said and fields.family == "deepseek_v4":  # what transformers 5.19 writes
        named = {"compressed_sparse_attention": 4, "heavily_compressed_attention": 128}
        said = [named.get(str(kind), 0) for kind in fields.listed("layer_types")]
    if not said:
        return []
    ratios = [ratio if isinstance(ratio, int) else 0 for ratio in said][: fields.layers]
    return ratios + [0] * (fields.layers - len(ratios))


def _deepseek_v4(fields: Fields, found: Traits, ratios: list[int]) -> tuple[Layer, ...]:
    hashed = sum(kind == "hash_moe" for kind in fields.listed("mlp_layer_types"))
    hashed = fields.number("num_hash_layers", default=hashed)
    built: dict[tuple[int, bool], Layer] = {}
    for index, ratio in enumerate(ratios):
        if (ratio, index < hashed) not in built:
            built[ratio, index < hashed] = tuple(_deepseek_v4_layer(fields, found, ratio, index < hashed))
    return tuple(built[ratio, index < hashed] for index, ratio in enumerate(ratios))


def _deepseek_v4_layer(fields: Fields, found: Traits, ratio: int, hashed: bool) -> Iterator[Weight]:
    """Yield one layer; `hashed`: a table of the vocabulary chooses its experts (vllm/models/deepseek_v4/nvidia)."""
    hidden, many = fields.hidden, fields.number("hc_mult", default=4)
    mixes = (2 + many) * many
    yield vector("norms", 2 * hidden)
    yield Weight("hyper_connections", 2 * mixes, many * hidden, split="none", linear=False, dtype="float32")
    yield vector("hyper_connections.base", 2 * (mixes + 3), "float32")
    yield from attention.compressed(fields, ratio)
    yield from mlp.experts(fields, found)
    if hashed:
        chosen = fields.number("num_experts_per_tok")
        yield Weight("gate.tid2eid", fields.number("vocab_size"), chosen, split="none", linear=False, dtype="int32")
    else:
        yield vector("gate.e_score_correction_bias", fields.experts, "float32")
