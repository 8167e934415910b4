"""What the planner knows of vLLM's methods and kernels is what the installed vLLM says. Read from its source."""

import ast
import importlib.util
import re
from pathlib import Path
from typing import NamedTuple, get_args

import pytest

from manta_operator.api import choices
from manta_operator.facts.accelerators import catalog
from manta_operator.planning import kernels, quantization

SPEC = importlib.util.find_spec("vllm")
pytestmark = pytest.mark.skipif(SPEC is None or SPEC.origin is None, reason="vLLM is not installed")
LAYERS = "model_executor/layers/quantization"
BACKENDS = "v1/attention/backends"

CONFIGS = {
    **dict.fromkeys(("auto_awq", "awq", "awq_marlin"), ("auto_awq.py", "AutoAWQConfig")),
    **dict.fromkeys(("auto_gptq", "gptq", "gptq_marlin"), ("auto_gptq.py", "AutoGPTQConfig")),
    **dict.fromkeys(("fp8", "deepseek_v4_fp8"), ("fp8.py", "Fp8Config")),
    **dict.fromkeys(("mxfp4", "gpt_oss_mxfp4"), ("mxfp4.py", "Mxfp4Config")),
    **dict.fromkeys(
        ("fp8_per_block", "fp8_per_channel", "fp8_per_tensor", "int8_per_channel_weight_only"),
        ("online/base.py", "OnlineQuantizationConfig"),
    ),
    "compressed-tensors": ("compressed_tensors/compressed_tensors.py", "CompressedTensorsConfig"),
    "experts_int8": ("experts_int8.py", "ExpertsInt8Config"),
    "humming": ("humming.py", "HummingConfig"),
    "inc": ("inc/inc.py", "INCConfig"),
    "modelopt": ("modelopt.py", "ModelOptFp8Config"),
    "modelopt_fp4": ("modelopt.py", "ModelOptNvFp4Config"),
    "modelopt_mixed": ("modelopt.py", "ModelOptMixedPrecisionConfig"),
    "modelopt_mxfp8": ("modelopt.py", "ModelOptMxFp8Config"),
    "moe_wna16": ("moe_wna16.py", "MoeWNA16Config"),
    "quark": ("quark/quark.py", "QuarkConfig"),
    "torchao": ("torchao.py", "TorchAOConfig"),
}
"""Where vLLM keeps each method (layers/quantization/__init__.py, get_quantization_config)."""
PARTICULAR = sorted(quantization.PARTICULAR.items())
EXTRACT = "_extract_modelopt_quant_algo"
FAMILY_100 = {"nvfp4_per_token"}
"""Methods whose layers ask for Blackwell themselves (online/nvfp4.py)."""


class Capability(NamedTuple):
    major: int
    minor: int


def package() -> Path:
    assert SPEC is not None
    assert SPEC.origin is not None
    return Path(SPEC.origin).parent


def returned(path: str, holder: str, function: str) -> ast.expr:
    """The expression that a method of a class returns last."""
    tree = ast.parse((package() / path).read_text())
    [found] = [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef) and node.name == holder]
    [method] = [node for node in found.body if isinstance(node, ast.FunctionDef) and node.name == function]
    return [node.value for node in ast.walk(method) if isinstance(node, ast.Return) and node.value is not None][-1]


def strings(path: str, holder: str, function: str) -> set[str]:
    """The texts in a method of a class."""
    tree = ast.parse((package() / path).read_text())
    [found] = [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef) and node.name == holder]
    [method] = [node for node in found.body if isinstance(node, ast.FunctionDef) and node.name == function]
    return {node.value for node in ast.walk(method) if isinstance(node, ast.Constant) and isinstance(node.value, str)}


@pytest.mark.parametrize("method", sorted(set(quantization.MINIMUM) - FAMILY_100))
def test_minimum_capability_of_a_method(method: str) -> None:
    file, holder = CONFIGS[method]
    value = returned(f"{LAYERS}/{file}", holder, "get_min_capability")
    assert quantization.MINIMUM[method] == ast.literal_eval(value)


CLAIMANTS = {
    "deepseek_v4_fp8": ("models/deepseek_v4/quant_config.py", "DeepseekV4FP8Config"),
    "gpt_oss_mxfp4": (f"{LAYERS}/mxfp4.py", "GptOssMxfp4Config"),
    "modelopt_fp4": (f"{LAYERS}/modelopt.py", "ModelOptNvFp4Config"),
    "modelopt_mixed": (f"{LAYERS}/modelopt.py", "ModelOptMixedPrecisionConfig"),
    "modelopt_mxfp8": (f"{LAYERS}/modelopt.py", "ModelOptMxFp8Config"),
}
"""Who claims a checkpoint of another method for this one."""


@pytest.mark.parametrize(("asked", "runs"), [(asked, runs) for asked, all_ in PARTICULAR for runs in all_])
def test_what_vllm_makes_of_a_method_by_itself(asked: str, runs: str) -> None:
    path, holder = CLAIMANTS[runs]
    words = strings(path, holder, "override_quantization_method")
    family = strings(path, "ModelOptQuantConfigBase", EXTRACT) if asked == "modelopt" else words
    assert runs in words
    assert asked in family


def test_every_method_has_its_minimum_or_two() -> None:
    words = set(get_args(choices.Quantization)) - {"auto", "none", "mxfp8"}
    assert words == set(quantization.MINIMUM)


def test_what_asks_for_blackwell_itself() -> None:
    source = (package() / LAYERS / "online/nvfp4.py").read_text()
    assert "is_device_capability_family(100)" in source


def test_methods_for_experts_alone_quantize_nothing_else() -> None:
    tree = ast.parse((package() / "config/quantization.py").read_text())
    [table] = [
        node.value
        for node in tree.body
        if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == "_ONLINE_SHORTHANDS"
    ]
    assert isinstance(table, ast.Dict)
    without = {
        ast.literal_eval(key)
        for key, value in zip(table.keys, table.values, strict=True)
        if key is not None and isinstance(value, ast.Call) and "linear" not in [word.arg for word in value.keywords]
    }
    assert without == set(quantization.EXPERTS_ALONE) - {"experts_int8"}


def test_rocm_lacks_what_is_refused_there() -> None:
    tree = ast.parse((package() / "platforms/rocm.py").read_text())
    [listed] = [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == "supported_quantization"
    ]
    assert listed is not None
    assert not set(quantization.NOT_ON_ROCM) & set(ast.literal_eval(listed))


CAPABILITIES = [Capability(*divmod(each.capability, 10)) for each in catalog().values() if each.capability]
FILES = {
    "CUTLASS_MLA": ("mla/cutlass_mla.py", "CutlassMLABackend"),
    "FLASHINFER": ("flashinfer.py", "FlashInferBackend"),
    "FLASHINFER_MLA": ("mla/flashinfer_mla.py", "FlashInferMLABackend"),
    "FLASHINFER_MLA_SPARSE": ("mla/flashinfer_mla_sparse.py", "FlashInferMLASparseTRTLLMBackend"),
    "FLASHMLA": ("mla/flashmla.py", "FlashMLABackend"),
    "FLASHMLA_SPARSE": ("mla/flashmla_sparse.py", "FlashMLASparseBackend"),
    "FLASH_ATTN": ("flash_attn.py", "FlashAttentionBackend"),
    "FLASH_ATTN_MLA": ("mla/flashattn_mla.py", "FlashAttnMLABackend"),
}


@pytest.mark.parametrize("backend", kernels.CAPABILITIES)
def test_capabilities_of_an_attention_backend(backend: str) -> None:
    file, holder = FILES[backend]
    value = returned(f"{BACKENDS}/{file}", holder, "supports_compute_capability")
    code = compile(ast.Expression(value), file, "eval")
    least, most = kernels.CAPABILITIES[backend]
    for capability in [*CAPABILITIES, Capability(7, 5), Capability(10, 3), Capability(12, 0)]:
        takes = eval(code, {"capability": capability, "DeviceCapability": Capability})
        assert takes == (least <= 10 * capability.major + capability.minor <= most), capability


def test_what_reads_a_cache_of_fp8() -> None:
    triton = (package() / BACKENDS / "triton_attn.py").read_text()
    assert f"has_device_capability({kernels.FP8_OF_TRITON})" in triton
    flash = (package() / BACKENDS / "fa_utils.py").read_text()
    assert 'if kv_cache_dtype == "fp8_e5m2":\n        return False' in flash
    [judge] = re.findall(r"def flash_attn_supports_kv_cache_dtype.*?(?=\ndef )", flash, re.DOTALL)
    families = {int(family) // 10 for family in re.findall(r"is_device_capability_family\((\d+)\)", judge)}
    assert families == set(kernels.FP8_OF_FLASH_ATTN)


def test_fp8_arithmetic() -> None:
    file = f"{LAYERS}/compressed_tensors/schemes/compressed_tensors_w8a8_fp8.py"
    value = returned(file, "CompressedTensorsW8A8Fp8", "get_min_capability")
    assert ast.literal_eval(value) == quantization.FP8_ARITHMETIC
