"""How many bytes the weights take once the engine has loaded them. Pure; the fit's first term.

    quantized checkpoint      bytes of its files
    otherwise                 parameters x bytes of the type they are loaded as:
                              what quantizes while loading (fp8_per_tensor, ...), else dtype

auto takes float32 checkpoints down to 16 bits, as vLLM does. Methods that quantize while loading leave embeddings and
norms as they are; here they are counted as quantized too, so the sum is a lower bound: good enough to refuse by
(step 5 counts them apart). Where a method is not known, the answer is a sentence instead of a number.
"""

import math

from manta_operator.api.models import EngineSpec
from manta_operator.facts.models import ModelFacts

DTYPE_BYTES = {"bfloat16": 2.0, "float16": 2.0, "float32": 4.0}
_LOADED_AS = {
    "fp8": 1.0,
    "fp8_per_block": 1.0,
    "fp8_per_channel": 1.0,
    "fp8_per_tensor": 1.0,
    "int8_per_channel_weight_only": 1.0,
    "mxfp8": 1.0,
    "nvfp4_per_token": 0.5625,  # 4 bits, and one byte of scale for 16 of them
}


def loaded_bytes(engine: EngineSpec, facts: ModelFacts) -> int | str:
    """Return the bytes of one replica's weights over all ranks, or why they cannot be counted."""
    if facts.weights_bytes is None:
        return "the checkpoint has no safetensors files: its weights cannot be counted"
    if facts.quantization:
        return facts.weights_bytes
    if engine.quantization in ("auto", "none"):
        width = activation_bytes(engine, facts)
    elif engine.quantization in _LOADED_AS:
        width = _LOADED_AS[engine.quantization]
    else:
        return f"not modelled yet: quantization {engine.quantization} of a checkpoint that is not quantized"
    parameters = facts.parameters or facts.weights_bytes / facts.dtype_bytes
    return math.ceil(parameters * width)


def activation_bytes(engine: EngineSpec, facts: ModelFacts) -> float:
    """Return the bytes of one value that is not quantized."""
    return DTYPE_BYTES.get(engine.dtype) or min(2.0, facts.dtype_bytes)
