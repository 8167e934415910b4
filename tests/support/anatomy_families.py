"""Small models of many families, for counting their parameters: what their configurations say beside SIZES."""

from typing import Any

SIZES: dict[str, Any] = {
    "hidden_size": 256,
    "intermediate_size": 384,
    "num_hidden_layers": 4,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "vocab_size": 1024,
    "pad_token_id": 0,
}
EXPERTS: dict[str, Any] = {
    "num_experts": 8,
    "num_local_experts": 8,
    "n_routed_experts": 8,
    "moe_intermediate_size": 96,
    "num_experts_per_tok": 2,
    "n_group": 1,
    "topk_group": 1,
}
SHARED: dict[str, Any] = EXPERTS | {"n_shared_experts": 1, "first_k_dense_replace": 1, "head_dim": 32}
LATENT: dict[str, Any] = {key: value for key, value in SHARED.items() if key != "head_dim"} | {
    "q_lora_rank": 48,
    "kv_lora_rank": 32,
    "qk_rope_head_dim": 16,
    "qk_nope_head_dim": 32,
    "v_head_dim": 32,
    "num_key_value_heads": 8,
}
INDEXED: dict[str, Any] = LATENT | {"index_topk": 64, "index_n_heads": 4, "index_head_dim": 32}
DELTA: dict[str, Any] = {
    "head_dim": 64,
    "linear_num_key_heads": 4,
    "linear_num_value_heads": 8,
    "linear_key_head_dim": 32,
    "linear_value_head_dim": 32,
}
SPARSE_DELTA: dict[str, Any] = EXPERTS | DELTA | {"shared_expert_intermediate_size": 128}
MAMBA: dict[str, Any] = {"mamba_n_heads": 16, "mamba_d_head": 32, "mamba_n_groups": 1, "mamba_d_state": 16}
NEMOTRON: dict[str, Any] = EXPERTS | {
    "head_dim": 32,
    "mamba_num_heads": 8,
    "mamba_head_dim": 32,
    "ssm_state_size": 16,
    "n_groups": 2,
    "n_shared_experts": 1,
    "moe_shared_expert_intermediate_size": 128,
    "layers_block_type": ["mamba", "moe", "attention", "mlp"],
}
COMPRESSED: dict[str, Any] = {
    key: value for key, value in INDEXED.items() if key not in ("kv_lora_rank", "first_k_dense_replace")
} | {
    "head_dim": 64,
    "num_key_value_heads": 1,
    "o_lora_rank": 32,
    "o_groups": 2,
    "compress_ratios": [0, 4, 128, 4],
}
SPARSE_GEMMA: dict[str, Any] = EXPERTS | {"top_k_experts": 2, "enable_moe_block": True}
GEMMA4: dict[str, Any] = {"head_dim": 32, "global_head_dim": 64, "num_kv_shared_layers": 0}
CONVOLUTIONS: dict[str, Any] = {"layer_types": ["conv", "conv", "full_attention", "conv"]}

FAMILIES: dict[str, dict[str, Any]] = {
    "arcee": {},
    "bamba": MAMBA | {"attn_layer_indices": [2]},
    "cohere": {},
    "cohere2": {"head_dim": 32},
    "deepseek_v2": LATENT,
    "deepseek_v3": LATENT,
    "deepseek_v32": INDEXED,
    "deepseek_v4": COMPRESSED,
    "dots1": SHARED,
    "ernie4_5": {"head_dim": 32},
    "ernie4_5_moe": {"moe_num_experts": 8, "moe_intermediate_size": 96, "moe_k": 2, "moe_layer_start_index": 1},
    "exaone4": {"head_dim": 32},
    "falcon_h1": MAMBA | {"mamba_d_ssm": 512, "head_dim": 32},
    "gemma": {"head_dim": 64},
    "gemma2": {"head_dim": 64},
    "gemma3_text": {"head_dim": 64},
    "gemma4_text": GEMMA4 | {"hidden_size_per_layer_input": 0},
    "glm": {"head_dim": 32},
    "glm4": {"head_dim": 32},
    "glm4_moe": SHARED | {"use_qk_norm": True},
    "glm4_moe_lite": LATENT,
    "glm_moe_dsa": INDEXED,
    "gpt_oss": EXPERTS | {"head_dim": 32},
    "granite": {},
    "granitemoe": {"num_local_experts": 4},
    "granitemoehybrid": MAMBA
    | {"num_local_experts": 4, "shared_intermediate_size": 128}
    | {"layer_types": ["mamba", "mamba", "attention", "mamba"]},
    "jamba": {"num_experts": 4, "attn_layer_period": 4, "attn_layer_offset": 2, "mamba_dt_rank": 16},
    "lfm2": CONVOLUTIONS,
    "lfm2_moe": EXPERTS | CONVOLUTIONS | {"num_dense_layers": 1},
    "llama": {},
    "llama4_text": EXPERTS | {"intermediate_size_mlp": 512, "head_dim": 32, "interleave_moe_layer_step": 2},
    "minimax_m2": EXPERTS | {"head_dim": 32},
    "ministral3": {"head_dim": 32},
    "mistral": {},
    "mixtral": EXPERTS,
    "nemotron": {},
    "nemotron_h": NEMOTRON,
    "olmo2": {},
    "olmo3": {},
    "olmoe": {"num_experts": 8},
    "phi": {"num_key_value_heads": 8},
    "phi3": {},
    "phimoe": {"num_local_experts": 4},
    "qwen2": {},
    "qwen2_moe": EXPERTS | {"shared_expert_intermediate_size": 128},
    "qwen3": {"head_dim": 64},
    "qwen3_5_moe_text": SPARSE_DELTA,
    "qwen3_5_text": DELTA,
    "qwen3_moe": EXPERTS | {"head_dim": 32},
    "qwen3_next": SPARSE_DELTA,
    "seed_oss": {"head_dim": 32},
    "smollm3": {},
    "stablelm": {},
    "starcoder2": {},
}
"""By model_type."""

DECODER: dict[str, Any] = SIZES | {"num_hidden_layers": 2, "head_dim": 32, "tie_word_embeddings": False}
TOWERS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "gemma3": (DECODER, {"num_hidden_layers": 3, "vision_use_head": False}),
    "gemma4": (DECODER | GEMMA4 | {"hidden_size_per_layer_input": 0}, {"num_hidden_layers": 3}),
    "glm4v": (DECODER, {"depth": 3, "out_hidden_size": 256}),
    "internvl": (DECODER, {"num_hidden_layers": 3}),
    "kimi_k25": (DECODER | LATENT, {}),
    "llama4": (DECODER | {"num_local_experts": 4}, {"num_hidden_layers": 3}),
    "llava": (
        DECODER | {"model_type": "llama"},
        {"model_type": "siglip_vision_model", "num_hidden_layers": 3, "vision_use_head": False},
    ),
    "mistral3": (DECODER | {"model_type": "mistral"}, {"num_hidden_layers": 3}),
    "qwen2_5_vl": (DECODER, {"depth": 3, "hidden_size": 320, "out_hidden_size": 256}),
    "qwen2_vl": (DECODER, {"depth": 3, "hidden_size": 256}),
    "qwen3_5": (DECODER | DELTA, {"depth": 3, "hidden_size": 128, "out_hidden_size": 256}),
    "qwen3_vl": (
        DECODER,
        {"depth": 9, "hidden_size": 128, "out_hidden_size": 256, "deepstack_visual_indexes": [1, 2]},
    ),
}
"""Models with towers: configurations of the decoder and of the tower."""
