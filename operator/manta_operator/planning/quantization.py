"""Can the checkpoint be served with the quantization that is asked for, on this accelerator? Pure; before a pod starts.

    against the checkpoint     `auto` takes what its quantization_config says; another method than that is refused where
                               vLLM refuses it (config/model.py, _verify_quantization)
    against the model          what quantizes experts alone needs a model that has some
    against the accelerator    the compute capability that vLLM's methods ask for (get_min_capability), ROCm's list

A refusal must be certain. What depends on what the operator cannot know (the instructions of a CPU, the scheme within a
checkpoint) is a note: a decision of the plan that says what to expect. `kernels.py` does the same for attention.
"""

from collections.abc import Mapping
from types import MappingProxyType

from manta_operator.api.models import LLMDeploymentSpec
from manta_operator.facts.accelerators import Accelerator
from manta_operator.facts.models import ModelFacts
from manta_operator.planning.problems import Problem

_GPTQ = ("auto_gptq", "gptq", "gptq_marlin")
_AWQ = ("auto_awq", "awq", "awq_marlin")
TAKES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "awq": (*_AWQ, "moe_wna16", "humming"),
        "compressed-tensors": ("compressed-tensors", "humming"),
        "fp8": ("fp8", "deepseek_v4_fp8", "humming"),
        "gptq": (*_GPTQ, "moe_wna16", "humming"),
        "quark": ("quark", "humming"),
        "torchao": ("torchao", "humming"),
    }
)
"""Methods that vLLM takes for a checkpoint by its quant_method. Of those not here vLLM takes any method, or its own."""

MINIMUM: Mapping[str, int] = MappingProxyType(
    dict.fromkeys((*_GPTQ, "inc"), 60)
    | dict.fromkeys(("compressed-tensors", "moe_wna16", "quark"), 70)
    | dict.fromkeys((*_AWQ, "fp8", "deepseek_v4_fp8", "humming", "modelopt_fp4", "modelopt_mixed", "torchao"), 75)
    | dict.fromkeys(("fp8_per_block", "fp8_per_channel", "fp8_per_tensor", "int8_per_channel_weight_only"), 75)
    | dict.fromkeys(("experts_int8", "gpt_oss_mxfp4", "modelopt", "modelopt_mxfp8", "mxfp4"), 80)
    | {"nvfp4_per_token": 100}
)
"""Compute capability x 10 that a method needs on NVIDIA; mxfp8 has one as a checkpoint's method and another online."""

PARTICULAR: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "fp8": ("deepseek_v4_fp8",),
        "modelopt": ("modelopt_fp4", "modelopt_mixed", "modelopt_mxfp8"),
        "mxfp4": ("gpt_oss_mxfp4",),
    }
)
"""What vLLM makes of a method by itself, by the checkpoint's model or the numbers in it (override_quantization_method).

In one direction: who names the particular one and runs the other has another checkpoint than they think.
"""

FP8_ARITHMETIC = 89
"""Below, fp8 weights are computed in 16 bits (vLLM's Marlin kernels; compressed_tensors_w8a8_fp8.py)."""
NOT_ON_ROCM = ("experts_int8", "humming", "int8_per_channel_weight_only", "moe_wna16", "nvfp4_per_token")
EXPERTS_ALONE = ("experts_int8", "int8_per_channel_weight_only", "nvfp4_per_token")
"""Methods that leave every layer but the experts as it is (config/quantization.py: they have no `linear`)."""

_NEEDS_AVX512 = (
    "4-bit weights with 16-bit activations need a CPU with AVX-512: without it no replica ever serves; 8-bit ones are "
    "served on no CPU"
)
ON_CPU: Mapping[str, str] = MappingProxyType(
    dict.fromkeys(("awq", "gptq", "inc", "auto-round"), _NEEDS_AVX512)
    | dict.fromkeys(("fp8_per_block", "fp8_per_tensor", "mxfp8"), "on CPUs without AVX-512 vLLM has no kernel for it")
    | {
        "compressed-tensors": "on CPU int8 W8A8, W4A8 and fp8 are served by any x86; "
        "4-bit weights with 16-bit activations need AVX-512; 8-bit ones and NVFP4 are served on no CPU"
    }
)
"""What was measured with vLLM 0.32 on a CPU with AVX2 (docs/quantization.md)."""


def canonical(method: str) -> str:
    """Return one name for all under which vLLM runs the same method."""
    return "gptq" if method in _GPTQ else "awq" if method in _AWQ else method


def runs_as(asked: str, runs: str) -> bool:
    """Whether vLLM runs the method that is asked for when it says that it runs `runs`."""
    return canonical(asked) == canonical(runs) or runs in PARTICULAR.get(asked, ())


def problems(spec: LLMDeploymentSpec, facts: ModelFacts | None, accelerator: Accelerator) -> tuple[Problem, ...]:
    """Return why the engine would not start, or would quantize nothing."""
    asked = spec.engine.quantization
    if asked == "none" and facts is not None and facts.quantization:
        said = f"none refuses a quantized checkpoint, and this one is quantized with {facts.quantization}"
        return (_problem(said, "use auto, or name a checkpoint that is not quantized"),)
    if asked in ("auto", "none"):
        return _against_minimum(facts, accelerator)
    found = (
        _against_checkpoint(asked, facts),
        _against_experts(asked, facts),
        _against_accelerator(asked, accelerator),
    )
    return tuple(problem for problem in found if problem is not None)


def _against_checkpoint(asked: str, facts: ModelFacts | None) -> Problem | None:
    has = facts.quantization if facts else None
    if has is None or asked == has or asked in TAKES.get(has, (asked,)):
        return None
    return _problem(
        f"{asked} is asked for, and this checkpoint is quantized with {has} already: vLLM refuses that",
        f"use auto, or name a checkpoint that is not quantized, or is with {asked}",
    )


def _against_minimum(facts: ModelFacts | None, accelerator: Accelerator) -> tuple[Problem, ...]:
    """Hold the checkpoint's own method to the accelerator (config/vllm.py, _get_quantization_config)."""
    method, has = (facts.quantization or "") if facts else "", accelerator.capability
    each = [MINIMUM[name] for name in (method, *PARTICULAR.get(method, ())) if name in MINIMUM]
    if facts is None or has is None or not each:
        return ()
    minimum = MINIMUM[method] if _in_8_bits(facts) and method in MINIMUM else min(each)
    if has >= minimum:
        return ()
    said = f"this checkpoint is quantized with {method}, which needs compute capability {minimum / 10:.1f}"
    return (
        Problem(
            "spec.accelerator.type",
            f"{said}, and {accelerator.type} has {has / 10:.1f}",
            "use another accelerator, or a checkpoint that is quantized otherwise or not at all",
        ),
    )


def _in_8_bits(facts: ModelFacts) -> bool:
    """Whether it is certain that nothing of the checkpoint is in fewer than 8 bits, nor in blocks with small scales."""
    layers = {id(layer): layer for layer in (facts.anatomy.layers if facts.anatomy else ())}.values()
    stored = {weight.stored for layer in layers for weight in layer if weight.stored}
    return bool(stored) and all(each.bits == 8 and each.scale == 4 for each in stored)


def _against_experts(asked: str, facts: ModelFacts | None) -> Problem | None:
    if facts is None or facts.experts or facts.quantization or asked not in EXPERTS_ALONE:
        return None
    return _problem(
        f"{asked} quantizes experts alone, and {facts.architecture} has none: nothing would be quantized",
        "use fp8_per_channel or another method for all layers, or auto",
    )


def _against_accelerator(asked: str, accelerator: Accelerator) -> Problem | None:
    if accelerator.is_rocm and asked in NOT_ON_ROCM:
        return _problem(
            f"vLLM has no {asked} on {accelerator.type} (ROCm)", "use fp8, or a checkpoint in int4 (awq, gptq)"
        )
    minimum, has = MINIMUM.get(asked, 0), accelerator.capability
    if has is None or has >= minimum:
        return None
    return _problem(
        f"{asked} needs compute capability {minimum / 10:.1f}, and {accelerator.type} has {has / 10:.1f}",
        "use another method, or another spec.accelerator.type",
    )


def notes(spec: LLMDeploymentSpec, facts: ModelFacts | None, accelerator: Accelerator) -> tuple[str, ...]:
    """Return what to expect of the method where that is not certain, or less than its name says."""
    method: str = spec.engine.quantization
    if method == "auto":
        method = (facts.quantization if facts else None) or "none"
    if accelerator.is_cpu and (said := ON_CPU.get(canonical(method))):
        return (f"quantization {method}: {said}",)
    has = accelerator.capability
    if has is not None and has < FP8_ARITHMETIC and method == "fp8":
        return (
            f"quantization fp8: {accelerator.type} has no fp8 arithmetic (compute capability {has / 10:.1f}, not 8.9):"
            " weights take half the memory, and are computed in 16 bits",
        )
    return ()


def _problem(message: str, remedy: str) -> Problem:
    return Problem("spec.engine.quantization", message, remedy)
