"""What each layer keeps, by the configurations of real families, and where the answer is a sentence instead."""

from collections import Counter

import pytest

from manta_operator.facts import steps
from manta_operator.facts.caches.kinds import kinds
from manta_operator.facts.caches.layers import Cache, State
from manta_operator.facts.caches.read import read

LLAMA = {"num_hidden_layers": 4, "hidden_size": 256, "num_attention_heads": 8, "num_key_value_heads": 2}
QWEN_NEXT = {
    "model_type": "qwen3_next",
    "num_hidden_layers": 8,
    "hidden_size": 2048,
    "num_attention_heads": 16,
    "num_key_value_heads": 2,
    "head_dim": 256,
    "linear_num_key_heads": 16,
    "linear_num_value_heads": 32,
    "linear_key_head_dim": 128,
    "linear_value_head_dim": 128,
    "linear_conv_kernel_dim": 4,
}
NEMOTRON = {
    "model_type": "nemotron_h",
    "num_hidden_layers": 7,
    "hidden_size": 2688,
    "num_attention_heads": 32,
    "num_key_value_heads": 2,
    "head_dim": 128,
    "hybrid_override_pattern": "MEM-*EM",
    "mamba_num_heads": 64,
    "mamba_head_dim": 64,
    "ssm_state_size": 128,
    "n_groups": 8,
    "conv_kernel": 4,
}


def caches(config) -> tuple[Cache, ...]:
    found = read(config)
    assert not isinstance(found, str), found
    return found


@pytest.mark.parametrize(
    ("case", "change", "expected"),
    [
        ("grouped-query", {}, {Cache("full", 2, 32, 32): 4}),
        ("multi-head", {"num_key_value_heads": None}, {Cache("full", 8, 32, 32): 4}),
        ("multi-query", {"multi_query": True}, {Cache("full", 1, 32, 32): 4}),
        ("DBRX", {"num_key_value_heads": None, "attn_config": {"kv_n_heads": 4}}, {Cache("full", 4, 32, 32): 4}),
        ("ChatGLM", {"num_key_value_heads": None, "multi_query_group_num": 2}, {Cache("full", 2, 32, 32): 4}),
        ("head_dim 0 is none", {"head_dim": 0}, {Cache("full", 2, 32, 32): 4}),
        ("Mistral", {"sliding_window": 4096}, {Cache("window", 2, 32, 32, 4096): 4}),
        (
            "Qwen2 without its window",
            {"sliding_window": 4096, "use_sliding_window": False},
            {Cache("full", 2, 32, 32): 4},
        ),
        (
            "Qwen2 with it",
            {"model_type": "qwen2", "sliding_window": 4096, "use_sliding_window": True, "max_window_layers": 3},
            {Cache("full", 2, 32, 32): 3, Cache("window", 2, 32, 32, 4096): 1},
        ),
        (
            "Gemma 2",
            {"model_type": "gemma2", "sliding_window": 64},
            {Cache("full", 2, 32, 32): 2, Cache("window", 2, 32, 32, 64): 2},
        ),
        (
            "Gemma 3 by its default",
            {"model_type": "gemma3_text", "num_hidden_layers": 12, "sliding_window": 64},
            {Cache("full", 2, 32, 32): 2, Cache("window", 2, 32, 32, 64): 10},
        ),
        (
            "EXAONE 4",
            {"sliding_window": 64, "sliding_window_pattern": "LLLG"},
            {Cache("full", 2, 32, 32): 1, Cache("window", 2, 32, 32, 64): 3},
        ),
        (
            "Gemma 3n shares",
            {"layer_types": ["sliding_attention", "full_attention"] * 2, "sliding_window": 64}
            | {"num_kv_shared_layers": 1},
            {Cache("full", 2, 32, 32): 1, Cache("window", 2, 32, 32, 64): 2, Cache("none"): 1},
        ),
        (
            "Gemma 4 has two widths",
            {"layer_types": ["sliding_attention", "full_attention"] * 2, "sliding_window": 64}
            | {"global_head_dim": 64, "attention_k_eq_v": True, "num_global_key_value_heads": 1},
            {Cache("full", 1, 64, 64): 2, Cache("window", 2, 32, 32, 64): 2},
        ),
        (
            "MiMo-V2 has two numbers of heads",
            {"hybrid_layer_pattern": [0, 1, 1, 1], "sliding_window_size": 64, "v_head_dim": 16}
            | {"swa_num_key_value_heads": 4, "swa_head_dim": 32, "swa_v_head_dim": 16},
            {Cache("full", 2, 32, 16): 1, Cache("window", 4, 32, 16, 64): 3},
        ),
        (
            "Llama 4",
            {"attention_chunk_size": 8192},
            {Cache("chunked", 2, 32, 32, 8192): 3, Cache("full", 2, 32, 32): 1},
        ),
        (
            "Llama 4 says where",
            {"attention_chunk_size": 8192, "no_rope_layers": [1, 0, 1, 0]},
            {Cache("chunked", 2, 32, 32, 8192): 2, Cache("full", 2, 32, 32): 2},
        ),
        (
            "DeepSeek V3",
            {"kv_lora_rank": 512, "qk_rope_head_dim": 64},
            {Cache("latent", 1, latent=576): 4},
        ),
        (
            "DeepSeek V3.2",
            {"kv_lora_rank": 512, "qk_rope_head_dim": 64, "index_topk": 2048, "index_head_dim": 128},
            {Cache("latent", 1, latent=576, indexer=132): 4},
        ),
        (
            "Nemotron's searched layers",
            {"block_configs": [{"attention": {"n_heads_in_group": 4}}, {"attention": {"no_op": True}}] * 2},
            {Cache("full", 2, 32, 32): 2, Cache("none"): 2},
        ),
    ],
)
def test_layers_of(case, change, expected):
    assert Counter(caches(LLAMA | change)) == Counter(expected), case


def test_gated_delta_net_every_fourth_layer_attends():
    found = caches(QWEN_NEXT)
    assert [cache.kind for cache in found] == (["recurrent"] * 3 + ["full"]) * 2
    # conv1d over queries, keys and values: 2 x 16 x 128 + 32 x 128; one 128 x 128 matrix a head
    assert found[0].state == State("delta", 8192, 3, 32, 128 * 128)
    assert found[3] == Cache("full", 2, 256, 256)


def test_a_state_has_the_type_that_the_model_says():
    assert caches(QWEN_NEXT | {"mamba_ssm_dtype": "float32"})[0].state == State("delta", 8192, 3, 32, 16384, 4.0)
    assert caches(QWEN_NEXT | {"model_type": "qwen3_5_text"})[0].state == State("delta", 8192, 3, 32, 16384, 4.0)


def test_nemotron_by_its_letters():
    found = caches(NEMOTRON)
    assert [cache.kind for cache in found] == ["recurrent", "none", "recurrent", "none", "full", "none", "recurrent"]
    assert found[0].state == State("mamba2", 4096 + 2 * 8 * 128, 3, 64, 64 * 128, 4.0, None, 8, 256)


@pytest.mark.parametrize(
    ("case", "config", "kind", "state"),
    [
        (
            "Jamba",
            {"attn_layer_period": 4, "attn_layer_offset": 2, "mamba_d_state": 16, "mamba_expand": 2, "mamba_d_conv": 4},
            ["recurrent", "recurrent", "full", "recurrent"],
            State("mamba1", 512, 3, 512, 16),
        ),
        (
            "Mamba",
            {"model_type": "mamba", "state_size": 16, "conv_kernel": 4, "intermediate_size": 512},
            ["recurrent"] * 4,
            State("mamba1", 512, 3, 512, 16),
        ),
        (
            "Falcon-H1 has both in each layer",
            {"model_type": "falcon_h1", "mamba_n_heads": 8, "mamba_d_head": 64, "mamba_d_state": 16}
            | {"mamba_n_groups": 1, "mamba_d_ssm": 512, "mamba_d_conv": 4},
            ["full"] * 4,
            State("mamba2", 512 + 32, 3, 8, 64 * 16, None, None, 1, 32),
        ),
        (
            "LFM2",
            {"layer_types": ["conv", "full_attention"] * 2, "conv_L_cache": 3},
            ["recurrent", "full"] * 2,
            State("short-conv", 256, 2),
        ),
        (
            "Kimi Linear",
            {"linear_attn_config": {"full_attn_layers": [4], "num_heads": 8, "head_dim": 32}}
            | {"kv_lora_rank": 512, "qk_rope_head_dim": 64},
            ["recurrent"] * 3 + ["latent"],
            State("kda", 768, 3, 8, 1024, 4.0),
        ),
        (
            "MiniMax-Text-01",
            {"attn_type_list": [0, 0, 0, 1]},
            ["recurrent"] * 3 + ["full"],
            State("linear", 0, 0, 8, 1024, 4.0),
        ),
    ],
)
def test_recurrent_layers_of(case, config, kind, state):
    found = caches(LLAMA | config)
    assert [cache.kind for cache in found] == kind, case
    assert next(cache.state for cache in found if cache.state) == state, case


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"num_hidden_layers": None}, "a number of layers that is not known"),
        ({"num_hidden_layers": 10**9}, "a number of layers that is not known"),
        ({"layer_types": ["full_attention"]}, "1 kinds of layers for 4 layers"),
        ({"layer_types": ["wave"] * 4}, "layers of wave"),
        ({"hybrid_override_pattern": "MQ*-"}, "layers of Q"),
        ({"layer_types": ["mamba", "full_attention"] * 2}, "the state of recurrent layers (no model_type)"),
        ({"is_encoder_decoder": True}, "the cross-attention of an encoder and decoder"),
        ({"compress_ratios": [4]}, "caches that are compressed along the context (compress_ratios)"),
        ({"model_type": "phi4flash"}, "the cache of phi4flash"),
        ({"num_key_value_heads": [2, 4]}, "attention whose KV heads differ from layer to layer"),
        ({"sliding_window": "wide"}, "a window of wide tokens"),
        ({"kv_lora_rank": 512, "sliding_window": 64}, "latent attention of window layers"),
        ({"index_topk": 64}, "sparse attention with an indexer"),
        ({"block_configs": [{"attention": {}}]}, "layers that an architecture search has chosen (block_configs)"),
        ({"mamba_d_state": 16}, "the state of recurrent layers (mamba_d_state)"),
    ],
)
def test_what_is_not_counted_has_a_name(change, words):
    assert read(LLAMA | change) == words


def test_kinds_of_a_plain_model_are_all_full():
    assert kinds({}, 3) == ("full", "full", "full")


def test_steps_are_read_from_either_place_and_are_zero_where_nothing_is_said():
    text = {"vocab_size": 2048, "intermediate_size": 768, "moe_intermediate_size": 96}
    found = steps.read({"quantization_config": {"weight_block_size": [128, 128]}}, text)
    assert (found.vocabulary, found.intermediate, found.expert, found.grouped) == (2048, 768, 96, True)
    assert steps.read({}, {}) == steps.NO_STEP
    assert steps.read({"vision_config": "pixtral"}, {"vocab_size": True}) == steps.NO_STEP


def test_towers_have_a_fixed_number_of_patches_or_the_largest():
    fixed = steps.read({"vision_config": {"hidden_size": 1152, "image_size": 896, "patch_size": 14}}, {}).tower
    free = steps.read({"vision_config": {"hidden_size": 1152, "intermediate_size": 4304}}, {}).tower
    assert fixed == steps.Tower(1152, 4608, 4096)
    assert free is not None
    assert (free.intermediate, free.most_patches) == (4304, 65_536)
