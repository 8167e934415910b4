"""What families of decoders have beside the numbers in their configurations: biases, norms, tied embeddings. Pure.

One row a family (`model_type` of transformers), each read from vLLM's model of it (vllm/model_executor/models) and from
transformers'. What no row names is a decoder as Llama's, which is what most new families are.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal

QkNorm = Literal["", "head", "all"]


@dataclass(frozen=True)
class Traits:
    """Of one family.

    `qkv_bias` and `out_bias`: the field of the configuration that says whether there are such biases, "yes" or "".
    `qk_norm`: a norm over one head, or over all of them. `norms`: of one layer, over the width. `norm_bias`: they are
    LayerNorms with a bias. `mlp`: "gated" has three matrices, "plain" two. `mlp_bias` as `qkv_bias`. `sinks`: a
    learnt logit a head. `expert_bias`: experts have biases. `tied`: the head is the embeddings, where nothing is said.
    `expert_width`: the field that says how wide an expert is. `qk_norm_said`: only where the configuration says it.
    `correction`: the router adds a learnt bias in float32. `gate_of_shared`: a gate of one row weighs shared experts.
    """

    qkv_bias: str = "attention_bias"
    out_bias: str = "attention_bias"
    qk_norm: QkNorm = ""
    norms: int = 2
    norm_bias: bool = False
    mlp: Literal["gated", "plain"] = "gated"
    mlp_bias: str = "mlp_bias"
    sinks: bool = False
    router_bias: bool = False
    expert_bias: bool = False
    tied: bool = False
    correction: bool = False
    gate_of_shared: bool = False
    expert_width: str = "moe_intermediate_size"
    qk_norm_said: bool = False


_LLAMA = Traits()
_QWEN2 = Traits(qkv_bias="yes", out_bias="")
_QWEN3 = Traits(qk_norm="head")
_QWEN_NEXT = Traits(qk_norm="head", gate_of_shared=True)
_DEEPSEEK = Traits(correction=True)
_GEMMA = Traits(tied=True)
_GEMMA2 = replace(_GEMMA, norms=4)
_GEMMA3 = replace(_GEMMA2, qk_norm="head")
_COHERE = Traits(norms=1, tied=True)
_GLM = Traits(out_bias="")
_PHI = Traits("yes", "yes", norms=1, norm_bias=True, mlp="plain", mlp_bias="yes")
_NEMOTRON = Traits(mlp="plain", norm_bias=True)
_LFM2 = Traits("", "", qk_norm="head", tied=True)
_OLMO2 = Traits(qk_norm="all")
_MIXTRAL = Traits("", "", expert_width="intermediate_size")
_GLM_MOE = replace(_GLM, qk_norm="head", qk_norm_said=True, correction=True)
_ERNIE = Traits("use_bias", "use_bias", mlp_bias="use_bias", tied=True)
_STARCODER2 = Traits("use_bias", "use_bias", norm_bias=True, mlp="plain", mlp_bias="use_bias", tied=True)

TRAITS: Mapping[str, Traits] = MappingProxyType(
    {
        "cohere": _COHERE,
        "cohere2": _COHERE,
        "deepseek_v2": _LLAMA,
        "deepseek_v3": _DEEPSEEK,
        "deepseek_v32": _DEEPSEEK,
        "dots1": Traits(qk_norm="head", correction=True),
        "ernie4_5": _ERNIE,
        "ernie4_5_moe": replace(_ERNIE, correction=True),
        "exaone4": Traits(qk_norm="head"),
        "gemma": _GEMMA,
        "gemma2": _GEMMA2,
        "gemma3": _GEMMA3,
        "gemma3_text": _GEMMA3,
        "gemma4": _GEMMA3,
        "gemma4_text": _GEMMA3,
        "glm": _GLM,
        "glm4": replace(_GLM, norms=4),
        "glm4_moe": _GLM_MOE,
        "glm4_moe_lite": _DEEPSEEK,
        "glm4v_moe_text": _GLM_MOE,
        "glm4v_text": replace(_GLM, qkv_bias="yes", norms=4),
        "glm_moe_dsa": _DEEPSEEK,
        "gpt_oss": Traits(
            "yes", "yes", sinks=True, router_bias=True, expert_bias=True, expert_width="intermediate_size"
        ),
        "apertus": Traits(qk_norm="head", mlp="plain"),
        "arcee": Traits(mlp="plain"),
        "granitemoe": Traits(expert_width="intermediate_size"),
        "granitemoehybrid": Traits(expert_width="intermediate_size"),
        "lfm2": _LFM2,
        "lfm2_moe": _LFM2,
        "kimi_k2": _DEEPSEEK,
        "llama": _LLAMA,
        "llama4_text": Traits(expert_width="intermediate_size"),
        "minimax_m2": replace(_MIXTRAL, qk_norm="all", correction=True),
        "ministral3": _LLAMA,
        "mistral": Traits("", ""),
        "mixtral": _MIXTRAL,
        "nemotron": _NEMOTRON,
        "nemotron_h": Traits(norms=1, mlp="plain", correction=True),
        "olmo": Traits(norms=0),
        "olmo2": _OLMO2,
        "olmo3": _OLMO2,
        "olmoe": _OLMO2,
        "phi": _PHI,
        "phi3": Traits("", ""),
        "phimoe": Traits(norm_bias=True, expert_width="intermediate_size"),
        "qwen2": _QWEN2,
        "qwen2_5_vl": _QWEN2,
        "qwen2_5_vl_text": _QWEN2,
        "qwen2_moe": replace(_QWEN2, gate_of_shared=True),
        "qwen2_vl": _QWEN2,
        "qwen2_vl_text": _QWEN2,
        "qwen3": _QWEN3,
        "qwen3_5_moe_text": _QWEN_NEXT,
        "qwen3_5_text": _QWEN_NEXT,
        "qwen3_moe": _QWEN3,
        "qwen3_next": _QWEN_NEXT,
        "qwen3_vl_moe_text": _QWEN3,
        "qwen3_vl_text": _QWEN3,
        "seed_oss": Traits(out_bias="attention_out_bias"),
        "smollm3": _LLAMA,
        "stablelm": Traits("use_qkv_bias", "", norm_bias=True),
        "starcoder2": _STARCODER2,
    }
)

RECURRENT = "linear_num_value_heads"
"""Where there are gated delta-net layers, whatever the family is called."""


def traits(family: str, fields: frozenset[str]) -> Traits:
    """Return the traits of a family; of one that nobody names what its `fields` tell."""
    if family in TRAITS:
        return TRAITS[family]
    if RECURRENT in fields:
        return _QWEN_NEXT
    if "hybrid_override_pattern" in fields:
        return TRAITS["nemotron_h"]
    return _LLAMA
