"""Has this accelerator the attention kernels that are asked for, and can they read such a KV cache? Pure.

From vLLM 0.32's own backends (`supports_compute_capability`, `supports_kv_cache_dtype`). Only what is certain is
refused: a backend not listed here, or an accelerator whose capability nobody knows, is the engine's to judge, and
`planning.engine_facts` tells what it chose.
"""

from collections.abc import Mapping
from types import MappingProxyType

from manta_operator.api.models import LLMDeploymentSpec
from manta_operator.facts.accelerators import Accelerator
from manta_operator.facts.models import ModelFacts
from manta_operator.planning.problems import Problem

CAPABILITIES: Mapping[str, tuple[int, int]] = MappingProxyType(
    {
        "CUTLASS_MLA": (100, 109),
        "FLASHINFER": (80, 121),
        "FLASHINFER_MLA": (100, 109),
        "FLASHINFER_MLA_SPARSE": (100, 109),
        "FLASHMLA": (90, 109),
        "FLASHMLA_SPARSE": (90, 109),
        "FLASH_ATTN": (80, 999),
        "FLASH_ATTN_MLA": (90, 99),
    }
)
"""Least and greatest compute capability x 10 of the backends that ask for one, on NVIDIA."""

SPARSE = (9, 10, 12)
"""Major capabilities with a kernel for sparse latent attention (v1/attention/backends/mla, *sparse*.py)."""

ON_CPU = ("CPU_ATTN", "CPU_MLA")
_NVIDIA_ALONE = ("CUTLASS_MLA", "FLASHINFER", "FLASHINFER_MLA", "FLASHINFER_MLA_SPARSE", "FLASHMLA", "FLASHMLA_SPARSE")
FP8_OF_TRITON = 89
"""Least capability with which TRITON_ATTN reads a KV cache of fp8 (triton_attn.py)."""
FP8_OF_FLASH_ATTN = (9, 10)
"""Major capabilities with which FLASH_ATTN does: FlashAttention 3 on 9.x, 4 on 10.x, no later one (fa_utils.py)."""


def problems(spec: LLMDeploymentSpec, facts: ModelFacts | None, accelerator: Accelerator) -> tuple[Problem, ...]:
    """Return why vLLM would refuse the backend, take another one instead, or have none for the model."""
    backend = spec.engine.attention_backend
    if facts is not None and (found := _sparse(facts, accelerator)):
        return (found,)
    if backend == "auto":
        return ()
    if (said := _elsewhere(backend, accelerator)) is not None:
        return (_problem(f"{backend} {said}", _remedy(accelerator)),)
    has = accelerator.capability
    if has is None:
        return ()
    least, most = CAPABILITIES.get(backend, (0, 999))
    if not least <= has <= most:
        needs = f"{least / 10:.1f}" if has < least else f"{most / 10:.1f} or less"
        said = f"{backend} needs compute capability {needs}, and {accelerator.type} has {has / 10:.1f}"
        return (_problem(said, _remedy(accelerator)),)
    return _cache(backend, spec.engine.kv_cache_dtype, has, accelerator)


def _sparse(facts: ModelFacts, accelerator: Accelerator) -> Problem | None:
    """Latent attention made sparse by an indexer has kernels for few capabilities, whatever backend is asked for."""
    has = accelerator.capability
    if has is None or has // 10 in SPARSE or not any(cache.latent and cache.indexer for cache in facts.caches):
        return None
    return Problem(
        "spec.accelerator.type",
        f"vLLM has no kernel for the sparse latent attention of {facts.architecture} on {accelerator.type} "
        f"(compute capability {has / 10:.1f})",
        "use an accelerator of compute capability 9.x, 10.x or 12.x",
    )


def _elsewhere(backend: str, accelerator: Accelerator) -> str | None:
    """Return where the backend is at home, if not here."""
    if accelerator.is_cpu and backend not in ON_CPU:
        return "is not for CPUs: vLLM would take CPU_ATTN instead without a word"
    if not accelerator.is_cpu and backend in ON_CPU:
        return f"is for CPUs alone, and spec.accelerator.type is {accelerator.type}"
    if accelerator.is_cuda and backend.startswith("ROCM_"):
        return f"is for AMD alone, and spec.accelerator.type is {accelerator.type}"
    if accelerator.is_rocm and backend in _NVIDIA_ALONE:
        return f"is for NVIDIA alone, and spec.accelerator.type is {accelerator.type}"
    return None


def _cache(backend: str, dtype: str, has: int, accelerator: Accelerator) -> tuple[Problem, ...]:
    if not dtype.startswith("fp8"):
        return ()
    reads = {"TRITON_ATTN": has >= FP8_OF_TRITON, "FLASH_ATTN": has // 10 in FP8_OF_FLASH_ATTN}.get(backend, True)
    if reads and not (backend == "FLASH_ATTN" and dtype == "fp8_e5m2"):
        return ()
    why = "at all" if reads else f"on {accelerator.type} (compute capability {has / 10:.1f})"
    return (
        Problem(
            "spec.engine.kvCacheDtype",
            f"{backend} cannot read a KV cache of {dtype} {why}",
            "use bfloat16 or auto, or attentionBackend FLASHINFER",
        ),
    )


def notes(spec: LLMDeploymentSpec, accelerator: Accelerator) -> tuple[str, ...]:
    """Return what to expect of the KV cache's type where that is not certain."""
    dtype = spec.engine.kv_cache_dtype
    if not dtype.startswith("fp8"):
        return ()
    if accelerator.is_cpu:
        return (f"kvCacheDtype {dtype}: on x86 this needs AVX-512 or AMX; without them the engine does not start",)
    has = accelerator.capability
    if has is not None and has < FP8_OF_TRITON and spec.engine.attention_backend == "auto":
        return (
            f"kvCacheDtype {dtype}: {accelerator.type} has no fp8 arithmetic (compute capability {has / 10:.1f}); "
            "of vLLM's kernels only FLASHINFER reads such a cache there",
        )
    return ()


def _remedy(accelerator: Accelerator) -> str:
    return "use CPU_ATTN or auto" if accelerator.is_cpu else "use auto, and vLLM chooses the best for this accelerator"


def _problem(message: str, remedy: str) -> Problem:
    return Problem("spec.engine.attentionBackend", message, remedy)
