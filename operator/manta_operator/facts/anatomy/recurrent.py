"""The weights of one layer that keeps a state instead of keys and values: delta nets and Mamba. Pure.

Formulas are those of vLLM's layers (model_executor/layers/mamba, models/qwen3_next.py, models/kimi_k3/nvidia/kda.py).
The convolution is a ColumnParallelLinear to vLLM, and yet no method of quantization takes it.
"""

from collections.abc import Iterator

from manta_operator.facts.anatomy.fields import Fields
from manta_operator.facts.anatomy.parts import Weight, sliced, vector


def delta_net(fields: Fields) -> Iterator[Weight]:
    """Yield the weights of a gated delta net (Qwen3-Next, Qwen3.5 and later)."""
    hidden = fields.hidden
    key_heads, heads = fields.number("linear_num_key_heads"), fields.number("linear_num_value_heads")
    key_dim, value_dim = fields.number("linear_key_head_dim"), fields.number("linear_value_head_dim")
    keys, values = key_heads * key_dim, heads * value_dim
    yield Weight("linear_attn.in_proj_qkv", 2 * keys + values, hidden)
    yield Weight("linear_attn.in_proj_z", values, hidden)
    yield Weight("linear_attn.in_proj_b", heads, hidden)
    yield Weight("linear_attn.in_proj_a", heads, hidden)
    yield sliced("linear_attn.conv1d", (2 * keys + values) * fields.number("linear_conv_kernel_dim", default=4))
    yield sliced("linear_attn.A_log", heads, "float32")
    yield sliced("linear_attn.dt_bias", heads)
    yield vector("linear_attn.norm", value_dim)
    yield Weight("linear_attn.out_proj", hidden, values, inner=True)


def kimi_delta(fields: Fields) -> Iterator[Weight]:
    """Yield the weights of Kimi delta attention: a gate for each channel of a key."""
    hidden, said = fields.hidden, fields.within("linear_attn_config")
    heads = said.number("num_heads") if said else fields.heads
    size = said.number("head_dim") if said else 128
    width = heads * size
    for name in ("q_proj", "k_proj", "v_proj"):
        yield Weight(f"self_attn.{name}", width, hidden)
    if said and said.flag("use_full_rank_gate"):
        yield Weight("self_attn.g_proj", width, hidden)
    else:
        yield Weight("self_attn.g_a_proj", size, hidden, split="none")
        yield Weight("self_attn.g_b_proj", width, size)
    yield Weight("self_attn.f_a_proj", size, hidden, split="none")
    yield Weight("self_attn.f_b_proj", width, size)
    yield Weight("self_attn.b_proj", heads, hidden)
    kernel = said.number("short_conv_kernel_size", default=4) if said else 4
    yield sliced("self_attn.conv1d", 3 * width * kernel, "float32")
    yield sliced("self_attn.dt_bias", width, "float32")
    yield sliced("self_attn.A_log", heads, "float32")
    yield vector("self_attn.o_norm", size)
    yield Weight("self_attn.o_proj", hidden, width, inner=True)


def mamba2(fields: Fields) -> Iterator[Weight]:
    """Yield the weights of a Mamba-2 mixer (Nemotron-H, Granite 4, Bamba)."""
    hidden, heads = fields.hidden, fields.number("mamba_num_heads", "mamba_n_heads")
    width = heads * fields.number("mamba_head_dim", "mamba_d_head")
    groups = fields.number("n_groups", "mamba_n_groups", default=8)
    mixed = width + 2 * groups * fields.number("ssm_state_size", "mamba_d_state", default=128)
    kernel = fields.number("conv_kernel", "mamba_d_conv", default=4)
    yield Weight("mixer.in_proj", width + mixed + heads, hidden)
    yield sliced("mixer.conv1d", mixed * (kernel + fields.flag("use_conv_bias", fields.flag("mamba_conv_bias", True))))
    yield sliced("mixer.A_log", 2 * heads, "float32")
    yield sliced("mixer.dt_bias", heads)
    if fields.flag("mamba_rms_norm", fields.family != "falcon_h1"):
        yield sliced("mixer.norm", width)
    yield Weight("mixer.out_proj", hidden, width, inner=True)
    if fields.flag("mamba_proj_bias") or fields.flag("use_bias"):
        yield sliced("mixer.in_proj.bias", width + mixed + heads)
        yield vector("mixer.out_proj.bias", hidden)


def mamba1(fields: Fields) -> Iterator[Weight]:
    """Yield the weights of a Mamba mixer (Jamba)."""
    hidden = fields.hidden
    width = fields.number("mamba_expand", default=2) * hidden
    state, kernel = fields.number("mamba_d_state", default=16), fields.number("mamba_d_conv", default=4)
    said = fields.get("mamba_dt_rank")
    rank = said if isinstance(said, int) and not isinstance(said, bool) else -(-hidden // 16)
    yield Weight("mamba.in_proj", 2 * width, hidden)
    yield sliced("mamba.conv1d", width * (kernel + fields.flag("mamba_conv_bias", True)))
    yield Weight("mamba.x_proj", rank + 2 * state, width, inner=True)
    yield Weight("mamba.dt_proj", width, rank)
    yield sliced("mamba.dt_proj.bias", width)
    yield sliced("mamba.A_log", width * state, "float32")
    yield sliced("mamba.D", width, "float32")
    yield vector("mamba.layernorms", rank + 2 * state)
    yield Weight("mamba.out_proj", hidden, width, inner=True)


def short_convolution(fields: Fields) -> Iterator[Weight]:
    """Yield the gated short convolution of LFM2."""
    hidden = fields.number("conv_dim", default=fields.hidden)
    yield Weight("conv.in_proj", 3 * hidden, fields.hidden)
    yield sliced("conv.conv", hidden * fields.number("conv_L_cache", default=3))
    yield Weight("conv.out_proj", fields.hidden, hidden, inner=True)
