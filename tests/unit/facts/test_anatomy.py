"""What a configuration says of weights, what a checkpoint leaves unquantized, and what its tensors tell."""

from typing import Any

import pytest

from manta_operator.facts.anatomy.config import anatomy
from manta_operator.facts.anatomy.fields import Uncountable
from manta_operator.facts.anatomy.formats import (
    FP8_BLOCK,
    FP8_CHANNEL,
    FP8_TENSOR,
    INT8_CHANNEL,
    MXFP4,
    NF4,
    NF4_TWICE,
    NVFP4,
)
from manta_operator.facts.anatomy.headers import Tensor
from manta_operator.facts.anatomy.kept import dressed
from manta_operator.facts.anatomy.parts import Anatomy, Stored, Weight
from manta_operator.facts.anatomy.schemes import scheme
from manta_operator.facts.anatomy.stored import anatomy_of
from manta_operator.facts.anatomy.tensors import tensors_anatomy

SMALL: dict[str, Any] = {
    "model_type": "llama",
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 256,
}
SPARSE = SMALL | {"model_type": "qwen3_moe", "num_experts": 4, "moe_intermediate_size": 32}
INT4 = Stored(4, 2, 1, 128)


def described(config: dict[str, Any]) -> Anatomy:
    found = anatomy(config)
    assert isinstance(found, Anatomy), found
    return found


def stored(config: dict[str, Any], quantization: dict[str, Any]) -> list[dict[str, Stored]]:
    """What is quantized in each layer, by name."""
    found = dressed(described(config), scheme(quantization))
    return [{weight.name: weight.stored for weight in layer if weight.stored} for layer in found.layers]


@pytest.mark.parametrize(
    ("said", "linear", "experts"),
    [
        pytest.param({"quant_method": "fp8"}, FP8_TENSOR, FP8_TENSOR, id="fp8"),
        pytest.param({"quant_method": "fp8", "weight_block_size": [128, 128]}, FP8_BLOCK, FP8_BLOCK, id="blocks"),
        pytest.param({"quant_method": "fbgemm_fp8"}, FP8_CHANNEL, FP8_CHANNEL, id="fbgemm"),
        pytest.param(
            {"quant_method": "fp8", "weight_block_size": [128, 128], "expert_dtype": "fp4"},
            FP8_BLOCK,
            MXFP4,
            id="experts in fp4",
        ),
        pytest.param({"quant_method": "mxfp4"}, None, MXFP4, id="gpt-oss"),
        pytest.param({"quant_method": "gptq", "bits": 4, "group_size": 128, "sym": True}, INT4, INT4, id="gptq"),
        pytest.param({"quant_method": "gptq", "bits": 8, "group_size": -1}, *[Stored(8, 2, 1, 0)] * 2, id="rows"),
        pytest.param({"quant_method": "awq", "bits": 4, "group_size": 128}, *[Stored(4, 2, 1, 128, 4)] * 2, id="awq"),
        pytest.param({"quant_method": "bitsandbytes", "load_in_8bit": True}, INT8_CHANNEL, INT8_CHANNEL, id="bnb 8"),
        pytest.param({"quant_method": "bitsandbytes", "load_in_4bit": True}, NF4_TWICE, NF4_TWICE, id="bnb 4"),
        pytest.param({"quant_method": "bitsandbytes", "bnb_4bit_use_double_quant": False}, NF4, NF4, id="bnb once"),
        pytest.param({"quant_method": "modelopt", "quantization": {"quant_algo": "NVFP4"}}, NVFP4, NVFP4, id="nvfp4"),
        pytest.param({"quant_method": "modelopt", "quant_algo": "FP8"}, FP8_TENSOR, FP8_TENSOR, id="modelopt fp8"),
        pytest.param({"quant_method": "compressed-tensors", "scheme": "int8 w8a8"}, *[INT8_CHANNEL] * 2, id="words"),
        pytest.param({"quant_method": "gptq", "scheme": "Model-GPTQ-Int8"}, *[INT8_CHANNEL] * 2, id="words of gptq"),
        pytest.param({"quant_method": "compressed-tensors", "note": "int4 experts"}, None, INT4, id="experts alone"),
        pytest.param(
            {
                "quant_method": "quark",
                "global_quant_config": {"weight": {"dtype": "fp8_e4m3", "qscheme": "per_tensor"}},
            },
            FP8_TENSOR,
            FP8_TENSOR,
            id="quark",
        ),
    ],
)
def test_the_scheme_of_a_checkpoint(said: dict[str, Any], linear: Stored | None, experts: Stored | None) -> None:
    found = scheme(said)
    assert (found.linear, found.experts) == (linear, experts)


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        ({"num_bits": 8, "type": "float", "strategy": "channel"}, FP8_CHANNEL),
        ({"num_bits": 8, "type": "float", "strategy": "tensor"}, FP8_TENSOR),
        ({"num_bits": 8, "type": "float", "strategy": "block", "block_structure": [128, 128]}, FP8_BLOCK),
        ({"num_bits": 4, "type": "float", "strategy": "tensor_group", "group_size": 16}, NVFP4),
        ({"num_bits": 4, "type": "int", "strategy": "group", "group_size": 128}, INT4),
        ({"num_bits": 4, "type": "int", "group_size": 32, "symmetric": False}, Stored(4, 2, 1, 32, 4)),
    ],
)
def test_the_groups_of_compressed_tensors(weights: dict[str, Any], expected: Stored) -> None:
    groups = {"group_0": {"targets": ["Linear"], "weights": weights}}
    assert scheme({"quant_method": "compressed-tensors", "config_groups": groups}).linear == expected


def test_a_method_that_nobody_knows_is_named() -> None:
    with pytest.raises(Uncountable, match="quantized with abacus are not counted"):
        scheme({"quant_method": "abacus"})


@pytest.mark.parametrize(
    ("ignored", "kept"),
    [
        pytest.param(["self_attn"], "qkvo", id="a module"),
        pytest.param(["model.layers.1.self_attn.q_proj"], "", id="of one layer"),
        pytest.param(["model.layers.1.self_attn"], "", id="a module of one layer"),
        pytest.param(["re:.*self_attn.(q|k)_proj$"], "qk", id="an expression"),
        pytest.param(["*self_attn*"], "qkvo", id="a glob"),
        pytest.param(["model.layers.1.self_attn*"], "", id="a glob of one layer"),
        pytest.param(["re:.*layers\\.1\\.self_attn.*"], "", id="an expression of one layer"),
        pytest.param(["lm_head", "attn.q"], "", id="what is no module of a layer"),
    ],
)
def test_what_a_checkpoint_leaves_out(ignored: list[str], kept: str) -> None:
    said = {"quant_method": "fp8", "modules_to_not_convert": ignored}
    first, second, third = stored(SMALL, said)
    assert {name for name in "qkvo" if f"self_attn.{name}_proj" not in first} == set(kept)
    assert third == first
    assert ("self_attn.q_proj" in second) == (not any("1" in entry or "self_attn" in entry for entry in ignored))
    assert "mlp.gate_proj" in second


def test_families_call_the_same_module_by_other_names() -> None:
    ignored = ["model.layers.0.block_sparse_moe.experts.0.w2", "re:.*mlp.gate$"]
    first, second, _ = stored(SPARSE, {"quant_method": "fp8", "ignored_layers": ignored})
    assert "mlp.experts.0.down_proj" not in first
    assert "mlp.experts.0.up_proj" in first
    assert "mlp.experts.0.down_proj" in second
    assert "mlp.gate" not in second, "no method takes a router"


@pytest.mark.parametrize(
    "said",
    [
        {"quant_method": "auto-round", "extra_config": {"model.layers.0.mlp.up_proj": {"bits": 16}}},
        {"quant_method": "gptq", "dynamic": {"-:.*layers\\.0\\.mlp\\.up_proj.*": {}}},
    ],
    ids=["auto-round", "gptq"],
)
def test_exceptions_are_left_out(said: dict[str, Any]) -> None:
    first, second, _ = stored(SMALL, {"bits": 4, "group_size": 128, "sym": True} | said)
    assert set(second) - set(first) == {"mlp.up_proj"}
    assert set(second.values()) == {INT4}


def test_what_is_quantized_is_named_one_by_one() -> None:
    layers = {"model.layers.0.mlp.up_proj": {"quant_algo": "NVFP4"}, "lm_head": {"quant_algo": "FP8"}}
    said = {"quant_method": "modelopt", "quant_algo": "MIXED_PRECISION", "quantized_layers": layers}
    assert stored(SMALL, said) == [{"mlp.up_proj": NVFP4}, {}, {}]
    found = dressed(described(SMALL), scheme(said))
    assert {weight.name: weight.stored for weight in found.outside if weight.stored} == {"lm_head": FP8_TENSOR}


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"hidden_size": None}, "hidden_size or n_embd or d_model should be a whole number, it is None"),
        ({"intermediate_size": "big"}, "it is 'big'"),
        ({"layer_types": ["wonderful_attention"] * 3}, "layer_types has 'wonderful_attention', which is not known"),
        ({"model_type": "whisper"}, "the weights of whisper are not counted"),
        ({"hybrid_override_pattern": "M?"}, "hybrid_override_pattern has ['?']"),
        ({"attn_type_list": [0, 1, 1]}, "lightning attention"),
        ({"ssm_state_size": 16}, "keep a state, and none says which do"),
    ],
)
def test_what_cannot_be_counted_is_said(changed: dict[str, Any], sentence: str) -> None:
    found = anatomy(SMALL | changed)
    assert isinstance(found, str)
    assert sentence in found


def tensors(config: dict[str, Any]) -> tuple[Tensor, ...]:
    """The tensors of a checkpoint of this configuration, in 16 bits."""
    found = described(config)
    outside = {"embed_tokens": "model.embed_tokens.weight", "lm_head": "lm_head.weight", "norm": "model.norm.weight"}
    pairs = [(outside[weight.name], weight) for weight in found.outside if not weight.made]
    for index, layer in enumerate(found.layers):
        pairs += [(f"model.layers.{index}.{weight.name}.weight", weight) for weight in layer]
    return tuple(
        Tensor(name.replace("experts.0", f"experts.{each}"), "BF16", (w.rows, w.columns), 2 * w.rows * w.columns)
        for name, w in pairs
        for each in range(w.count)
    )


@pytest.mark.parametrize("config", [SMALL, SPARSE], ids=["dense", "experts"])
def test_tensors_that_agree_with_the_configuration_make_it_certain(config: dict[str, Any]) -> None:
    said, seen = described(config), anatomy_of(config, {}, tensors(config), 2)
    assert isinstance(seen, Anatomy)
    assert (seen.layers, seen.outside) == (said.layers, said.outside)
    assert seen.spread < said.spread


def test_tensors_are_right_where_the_configuration_says_something_else() -> None:
    pruned = tuple(tensor for tensor in tensors(SPARSE) if ".experts.3." not in tensor.name)
    seen = anatomy_of(SPARSE, {}, pruned, 2)
    assert isinstance(seen, Anatomy)
    assert seen.parameters == sum(tensor.numbers for tensor in pruned)
    assert {weight.count for weight in seen.layers[0] if weight.split == "experts"} == {3}
    assert [weight.name for weight in seen.outside if weight.made] == ["rotary_table"]


def test_tensors_of_a_family_that_nobody_knows_are_counted_by_their_names() -> None:
    strange = SMALL | {"model_type": "whisper"}
    seen = anatomy_of(strange, {}, tensors(SMALL), 2)
    assert isinstance(seen, Anatomy)
    splits = {weight.name.split(".")[-2]: weight.split for weight in seen.layers[0]}
    assert splits == {
        "norms": "none",
        "q_proj": "tensor",
        "k_proj": "kv",
        "v_proj": "kv",
        "o_proj": "tensor",
        "gate_proj": "tensor",
        "up_proj": "tensor",
        "down_proj": "tensor",
    }
    assert {weight.name: weight.split for weight in seen.outside} == {
        "embed_tokens": "vocab",
        "lm_head": "vocab",
        "norm": "none",
    }


def test_what_is_not_loaded_does_not_count() -> None:
    more = (
        Tensor("model.layers.0.self_attn.rotary_emb.inv_freq", "F32", (16,), 64),
        Tensor("model.layers.3.self_attn.q_proj.weight", "BF16", (64, 64), 8192),
        Tensor("mtp.fc.weight", "BF16", (64, 128), 16384),
        Tensor("lm_head.weight", "BF16", (256, 64), 32768),
    )
    bare = tuple(tensor for tensor in tensors(SMALL) if tensor.name != "lm_head.weight")
    seen = tensors_anatomy((*bare, *more), 3, 2, tied=True)
    assert seen.parameters == sum(tensor.numbers for tensor in bare)
    assert sum(weight.parameters for weight in seen.guesses) == 64 * 64 + 64 * 128


def test_what_a_quantized_latent_attention_unpacks_is_made() -> None:
    packed = Tensor("model.layers.0.self_attn.kv_b_proj.weight", "F8_E4M3", (64, 32), 2048)
    scales = Tensor("model.layers.0.self_attn.kv_b_proj.weight_scale_inv", "F32", (1, 1), 4)
    [layer] = tensors_anatomy((packed, scales), 1, 2, tied=False).layers
    assert [(weight.dtype, weight.made) for weight in layer] == [("uint8", False), ("float32", False), (None, True)]
    assert layer[-1] == Weight("W_UK_W_UV", 64, 32, linear=False, made=True)
