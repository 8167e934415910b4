"""The weights of one attention: grouped-query, multi-head latent, sparse. Pure; a part of the anatomy of a layer.

Formulas are those of vLLM's models (vllm/model_executor/models, layers/attention/mla_attention.py): query, key, value
and output projections are cut over tensor ranks; of fewer KV heads than ranks each has a whole one; what latent
attention projects down, and its indexer, are on every rank (ReplicatedLinear, disable_tp).
"""

from collections.abc import Iterator

from manta_operator.facts.anatomy.fields import Fields
from manta_operator.facts.anatomy.parts import Weight, sliced, vector
from manta_operator.facts.anatomy.traits import Traits


def _said(fields: Fields, name: str) -> bool:
    return name == "yes" or (bool(name) and fields.flag(name))


def grouped(
    fields: Fields, traits: Traits, *, heads: int = 0, kv_heads: int = 0, head_dim: int = 0, value_dim: int = 0
) -> Iterator[Weight]:
    """Yield the weights of grouped-query attention; what is not given is what the configuration says."""
    hidden, heads = fields.hidden, heads or fields.heads
    kv_heads = kv_heads or fields.number("num_key_value_heads", "num_kv_heads", "n_head_kv", default=heads)
    head_dim = head_dim or fields.number("head_dim", "attention_head_dim", default=hidden // max(1, heads))
    value_dim = value_dim or head_dim
    gated = 2 if fields.flag("attn_output_gate", traits.gate_of_shared and fields.get(_GDN) is not None) else 1
    queries = heads * head_dim
    yield Weight("self_attn.q_proj", gated * queries, hidden)
    yield Weight("self_attn.k_proj", kv_heads * head_dim, hidden, split="kv", ways=kv_heads)
    yield Weight("self_attn.v_proj", kv_heads * value_dim, hidden, split="kv", ways=kv_heads)
    yield Weight("self_attn.o_proj", hidden, heads * value_dim, inner=True)
    if _said(fields, traits.qkv_bias):
        yield sliced("self_attn.q_proj.bias", gated * queries)
        yield sliced("self_attn.kv_proj.bias", kv_heads * (head_dim + value_dim))
    if _said(fields, traits.out_bias):
        yield vector("self_attn.o_proj.bias", hidden)
    if traits.qk_norm and fields.flag("use_qk_norm", not traits.qk_norm_said):
        whole = traits.qk_norm == "all"
        yield vector("self_attn.q_norm", queries if whole else head_dim)
        yield vector("self_attn.k_norm", kv_heads * head_dim if whole else head_dim)
    if traits.sinks:
        yield sliced("self_attn.sinks", heads)


_GDN = "linear_num_value_heads"


def latent(fields: Fields, *, chooses: bool = True) -> Iterator[Weight]:
    """Yield the weights of multi-head latent attention (DeepSeek-V2, section 2.1), with its indexer (V3.2) if any.

    `chooses`: it has an indexer of its own, where the model has some.
    """
    hidden, heads = fields.hidden, fields.heads
    rank, rope = fields.number("kv_lora_rank"), fields.number("qk_rope_head_dim")
    nope = fields.number("qk_nope_head_dim", default=128)
    value = fields.number("v_head_dim", default=128)
    if queries := fields.number("q_lora_rank", default=0):
        yield Weight("self_attn.q_a_proj", queries, hidden, split="none")
        yield vector("self_attn.q_a_layernorm", queries)
        yield Weight("self_attn.q_b_proj", heads * (nope + rope), queries)
    else:
        yield Weight("self_attn.q_proj", heads * (nope + rope), hidden)
    yield Weight("self_attn.kv_a_proj_with_mqa", rank + rope, hidden, split="none")
    yield vector("self_attn.kv_a_layernorm", rank)
    yield Weight("self_attn.kv_b_proj", heads * (nope + value), rank)
    yield Weight("self_attn.o_proj", hidden, heads * value, inner=True)
    if fields.flag("mla_use_output_gate"):
        yield Weight("self_attn.g_proj", heads * value, hidden)
    if fields.flag("attention_bias"):
        if queries:
            yield vector("self_attn.q_a_proj.bias", queries)
        yield vector("self_attn.kv_a_proj_with_mqa.bias", rank + rope)
        yield vector("self_attn.o_proj.bias", hidden)
    if chooses and fields.number("index_topk", default=0):
        yield from _indexer(fields, queries or hidden)


def _indexer(fields: Fields, queries: int) -> Iterator[Weight]:
    """Yield the lightning indexer; vLLM keeps what scores in the type of the model, whatever is quantized."""
    heads, size = fields.number("index_n_heads", default=64), fields.number("index_head_dim", default=128)
    yield Weight("self_attn.indexer.wq_b", heads * size, queries, split="none")
    yield Weight("self_attn.indexer.wk", size, fields.hidden, split="none", linear=False)
    yield Weight("self_attn.indexer.weights_proj", heads, fields.hidden, split="none", linear=False)
    yield vector("self_attn.indexer.k_norm", 2 * size, "float32")


def compressed(fields: Fields, ratio: int) -> Iterator[Weight]:
    """Yield the attention of DeepSeek-V4: latent keys that are compressed `ratio` to 1 (0: not), grouped outputs.

    vllm/models/deepseek_v4/attention.py and compressor.py.
    """
    hidden, heads, size = fields.hidden, fields.heads, fields.number("head_dim")
    queries, groups = fields.number("q_lora_rank"), fields.number("o_groups")
    rank = fields.number("o_lora_rank")
    yield Weight("attn.wq_a", queries, hidden, split="none")
    yield Weight("attn.wkv", size, hidden, split="none")
    yield vector("attn.norms", queries + size)
    yield Weight("attn.wq_b", heads * size, queries)
    yield Weight("attn.wo_a", groups * rank, heads * size // groups)
    yield Weight("attn.wo_b", hidden, groups * rank, inner=True)
    yield sliced("attn.attn_sink", heads, "float32")
    if ratio > 1:
        yield from _compressor(hidden, size, ratio)
    if ratio == OVERLAPPED:
        index_heads, index_size = fields.number("index_n_heads"), fields.number("index_head_dim")
        yield Weight("attn.indexer.wq_b", index_heads * index_size, queries, split="none")
        yield Weight("attn.indexer.weights_proj", index_heads, hidden, split="none", linear=False)
        yield from _compressor(hidden, index_size, ratio)


OVERLAPPED = 4
"""The ratio at which DeepSeek-V4's compressor has two overlapping windows, and the layer an indexer."""


def _compressor(hidden: int, size: int, ratio: int) -> Iterator[Weight]:
    width = size * (2 if ratio == OVERLAPPED else 1)
    yield Weight("attn.compressor.wkv_wgate", 2 * width, hidden, split="none", linear=False)
    yield Weight("attn.compressor.ape", ratio, width, split="none", linear=False, dtype="float32")
    yield vector("attn.compressor.norm", size)
