"""Quantization against checkpoint, model and accelerator, and the attention kernels against the accelerator."""

from dataclasses import replace

import pytest
from make import LLAMA_8B, deployment

from manta_operator.planning.engine_checks import decisions, problems
from manta_operator.planning.fit import accelerator_of

CPU = {"type": "cpu"}
AMD = {"type": "amd-mi300x"}
A100 = {"type": "nvidia-a100-80gb"}
L4 = {"type": "nvidia-l4"}
B200 = {"type": "nvidia-b200"}
OTHER = {"type": "other", "resource": "example.com/npu"}
EXPERTS = replace(LLAMA_8B, experts=8)


def has(method: str):
    return replace(LLAMA_8B, quantization=method)


def found(facts, accelerator=None, **engine) -> list[str]:
    spec = deployment(engine=engine, **({"accelerator": accelerator} if accelerator else {})).spec
    return [str(problem) for problem in problems(spec, facts, accelerator_of(spec))]


@pytest.mark.parametrize(
    ("case", "facts", "accelerator", "engine"),
    [
        ("auto reads it", has("gptq"), None, {}),
        ("its own method", has("compressed-tensors"), None, {"quantization": "compressed-tensors"}),
        ("other kernels of the same", has("gptq"), None, {"quantization": "gptq_marlin"}),
        ("by layers that can", has("awq"), None, {"quantization": "moe_wna16"}),
        ("vLLM replaces it itself", has("auto-round"), None, {"quantization": "fp8"}),
        ("a method nobody knows here", has("bitnet"), None, {"quantization": "torchao"}),
        ("while loading", LLAMA_8B, None, {"quantization": "fp8_per_tensor"}),
        ("unseen", None, None, {"quantization": "awq"}),
        ("experts", EXPERTS, None, {"quantization": "int8_per_channel_weight_only"}),
        ("experts on Blackwell", EXPERTS, B200, {"quantization": "nvfp4_per_token"}),
        ("fp8 weights on Ampere", has("fp8"), A100, {"quantization": "fp8"}),
        ("of another kind", None, OTHER, {"quantization": "nvfp4_per_token", "attentionBackend": "FLASHMLA"}),
        ("on AMD", has("gptq"), AMD, {"quantization": "gptq", "attentionBackend": "ROCM_ATTN"}),
        ("CPU's own", LLAMA_8B, CPU, {"attentionBackend": "CPU_ATTN"}),
        ("flash", LLAMA_8B, A100, {"attentionBackend": "FLASH_ATTN"}),
        ("fp8 cache by FlashInfer", LLAMA_8B, A100, {"attentionBackend": "FLASHINFER", "kvCacheDtype": "fp8"}),
        ("fp8 cache by Triton", LLAMA_8B, L4, {"attentionBackend": "TRITON_ATTN", "kvCacheDtype": "fp8"}),
        ("fp8 cache by FlashAttention 3", LLAMA_8B, None, {"attentionBackend": "FLASH_ATTN", "kvCacheDtype": "fp8"}),
    ],
)
def test_what_is_let_through(case, facts, accelerator, engine):
    assert found(facts, accelerator, **engine) == [], case


@pytest.mark.parametrize(
    ("case", "facts", "accelerator", "engine", "path", "words"),
    [
        ("another method", has("gptq"), None, {"quantization": "awq"}, "quantization", "quantized with gptq already"),
        ("twice", has("awq"), None, {"quantization": "fp8_per_tensor"}, "quantization", "quantized with awq already"),
        ("fp8 twice", has("compressed-tensors"), None, {"quantization": "fp8"}, "quantization", "vLLM refuses that"),
        ("no experts", LLAMA_8B, None, {"quantization": "int8_per_channel_weight_only"}, "quantization",
         "quantizes experts alone, and LlamaForCausalLM has none: nothing would be quantized"),
        ("not Blackwell", EXPERTS, None, {"quantization": "nvfp4_per_token"}, "quantization",
         "needs compute capability 10.0, and nvidia-h100-80gb has 9.0"),
        ("not on AMD", EXPERTS, AMD, {"quantization": "experts_int8"}, "quantization", "no experts_int8 on amd-mi300x"),
        ("FlashAttention on CPU", LLAMA_8B, CPU, {"attentionBackend": "FLASH_ATTN"}, "attentionBackend",
         "FLASH_ATTN is not for CPUs: vLLM would take CPU_ATTN instead"),
        ("CPU's on a GPU", None, A100, {"attentionBackend": "CPU_ATTN"}, "attentionBackend", "is for CPUs alone"),
        ("AMD's on NVIDIA", None, A100, {"attentionBackend": "ROCM_AITER_FA"}, "attentionBackend", "is for AMD alone"),
        ("NVIDIA's on AMD", None, AMD, {"attentionBackend": "FLASHINFER"}, "attentionBackend", "is for NVIDIA alone"),
        ("FlashMLA on Ampere", None, A100, {"attentionBackend": "FLASHMLA"}, "attentionBackend",
         "FLASHMLA needs compute capability 9.0, and nvidia-a100-80gb has 8.0"),
        ("Hopper's on Blackwell", None, B200, {"attentionBackend": "FLASH_ATTN_MLA"}, "attentionBackend",
         "needs compute capability 9.9 or less"),
        ("fp8 cache by FlashAttention 2", None, L4, {"attentionBackend": "FLASH_ATTN", "kvCacheDtype": "fp8"},
         "kvCacheDtype", "FLASH_ATTN cannot read a KV cache of fp8 on nvidia-l4 (compute capability 8.9)"),
        ("fp8 cache by Triton on Ampere", None, A100, {"attentionBackend": "TRITON_ATTN", "kvCacheDtype": "fp8_e4m3"},
         "kvCacheDtype", "TRITON_ATTN cannot read"),
        ("e5m2 by FlashAttention", None, None, {"attentionBackend": "FLASH_ATTN", "kvCacheDtype": "fp8_e5m2"},
         "kvCacheDtype", "fp8_e5m2 at all"),
    ],
)  # fmt: skip
def test_what_is_refused(case, facts, accelerator, engine, path, words):
    [said] = found(facts, accelerator, **engine)
    assert said.startswith(f"spec.engine.{path}: "), case
    assert words in said


@pytest.mark.parametrize(("capability", "reads"), [(89, False), (90, True), (100, True), (103, True), (120, False)])
def test_flash_attention_reads_a_cache_of_fp8_on_some_families_alone(capability, reads):
    accelerator = replace(accelerator_of(deployment().spec), capability=capability)
    spec = deployment(engine={"attentionBackend": "FLASH_ATTN", "kvCacheDtype": "fp8"}).spec
    assert [problem.path for problem in problems(spec, None, accelerator)] == (
        [] if reads else ["spec.engine.kvCacheDtype"]
    )


@pytest.mark.parametrize(
    ("case", "facts", "accelerator", "engine", "words"),
    [
        ("fp8 on Ampere", has("fp8"), A100, {}, "computed in 16 bits"),
        ("4 bits on CPU", has("awq"), CPU, {}, "quantization awq: 4-bit weights with 16-bit activations need"),
        ("4 bits on CPU by name", None, CPU, {"quantization": "auto_gptq"}, "AVX-512"),
        ("packed on CPU", has("compressed-tensors"), CPU, {}, "int8 W8A8, W4A8 and fp8 are served"),
        ("8 bits on CPU", has("gptq"), CPU, {}, "8-bit ones are served on no CPU"),
        ("8 bits packed on CPU", has("compressed-tensors"), CPU, {}, "8-bit ones and NVFP4 are served on no CPU"),
        ("no kernel on CPU", LLAMA_8B, CPU, {"quantization": "fp8_per_block"}, "no kernel for it"),
        ("fp8 cache on CPU", LLAMA_8B, CPU, {"kvCacheDtype": "fp8"}, "AVX-512 or AMX"),
        ("fp8 cache on Ampere", LLAMA_8B, A100, {"kvCacheDtype": "fp8"}, "only FLASHINFER reads such a cache there"),
    ],
)  # fmt: skip
def test_what_is_told_beforehand(case, facts, accelerator, engine, words):
    spec = deployment(accelerator=accelerator, engine=engine).spec
    assert problems(spec, facts, accelerator_of(spec)) == (), case
    [decision] = decisions(spec, facts, accelerator_of(spec))
    assert decision.reason == "EngineOption"
    assert words in decision.message


def test_a_draft_that_nobody_knows_is_not_counted_and_that_is_told():
    drafts = {"method": "draft_model", "tokens": 3, "model": {"uri": "hf://o/small"}}
    spec = deployment(engine={"speculative": drafts}).spec
    [decision] = decisions(spec, LLAMA_8B, accelerator_of(spec))
    assert decision.message.startswith(
        "speculative draft_model: not counted: the weights and the KV cache of hf://o/small"
    )


@pytest.mark.parametrize(("facts", "accelerator"), [(LLAMA_8B, CPU), (has("fp8"), L4), (has("awq"), A100)])
def test_nothing_is_told_where_all_is_well(facts, accelerator):
    spec = deployment(accelerator=accelerator).spec
    assert decisions(spec, facts, accelerator_of(spec)) == ()
