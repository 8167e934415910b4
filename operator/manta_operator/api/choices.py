"""The closed sets of words a spec may use, taken from vLLM 0.32 where they are the engine's own names.

Read by `models.py`, and through it by the CRD. A contract test compares them with the installed vLLM.
"""

from typing import Literal

DType = Literal["auto", "bfloat16", "float16", "float32"]

Quantization = Literal[
    "auto",
    "none",
    # How a checkpoint was quantized.
    "auto_awq",
    "auto_gptq",
    "awq",
    "awq_marlin",
    "compressed-tensors",
    "deepseek_v4_fp8",
    "experts_int8",
    "fp8",
    "gpt_oss_mxfp4",
    "gptq",
    "gptq_marlin",
    "humming",
    "inc",
    "modelopt",
    "modelopt_fp4",
    "modelopt_mixed",
    "modelopt_mxfp8",
    "moe_wna16",
    "mxfp4",
    "quark",
    "torchao",
    # Quantized while the weights are loaded.
    "fp8_per_block",
    "fp8_per_channel",
    "fp8_per_tensor",
    "int8_per_channel_weight_only",
    "mxfp8",
    "nvfp4_per_token",
]

KVCacheDType = Literal[
    "auto",
    "bfloat16",
    "float16",
    "fp8",
    "fp8_e4m3",
    "fp8_e5m2",
    "fp8_inc",
    "fp8_ds_mla",
    "fp8_per_token_head",
    "int4_per_token_head",
    "int8_per_token_head",
    "nvfp4",
    "nvfp4_4over6",
    "nvfp4_ds_mla",
]

AttentionBackend = Literal[
    "auto",
    "CPU_ATTN",
    "CPU_MLA",
    "CUTLASS_MLA",
    "FLASHINFER",
    "FLASHINFER_MLA",
    "FLASHINFER_MLA_SPARSE",
    "FLASHMLA",
    "FLASHMLA_SPARSE",
    "FLASH_ATTN",
    "FLASH_ATTN_MLA",
    "FLEX_ATTENTION",
    "ROCM_AITER_FA",
    "ROCM_AITER_MLA",
    "ROCM_AITER_MLA_SPARSE",
    "ROCM_AITER_TRITON_MLA",
    "ROCM_AITER_UNIFIED_ATTN",
    "ROCM_ATTN",
    "TRITON_ATTN",
    "TRITON_MLA",
]

LORA_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)

Executor = Literal["auto", "ray", "mp"]

RouterMode = Literal["envoy", "inference-pool"]

RouterPolicy = Literal["prefix", "least-load", "round-robin", "session"]

TolerationOperator = Literal["Equal", "Exists"]

TaintEffect = Literal["NoExecute", "NoSchedule", "PreferNoSchedule"]
