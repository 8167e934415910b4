"""How many bytes the weights take once the engine has loaded them. Pure; the fit's first term.

    quantized checkpoint      bytes of its files
    otherwise                 parameters x bytes of the type they are loaded as:
                              what quantizes while loading (fp8_per_tensor, ...), else dtype

auto takes float32 checkpoints down to 16 bits, as vLLM does. Methods that quantize while loading leave embeddings and
norms as they are; here they are counted as quantized too, so the sum is a lower bound: good enough to refuse by
(step 5 counts them apart). Where a method is not known, the answer is a sentence instead of a number.

    per rank = (weights - experts) / (tensor x pipeline)         every data rank has a copy of its own
             + experts / pipeline x share                        share: of one layer's experts, on the fullest rank

    share    = ceil(number / (data x tensor)) / number           expert parallel: whole experts
             = 1 / (data x tensor)                               otherwise: a slice of each

Data ranks share the experts in both cases: vLLM's FusedMoEParallelConfig splits them over data x tensor.
"""

import math

from manta_operator.api.models import EngineSpec
from manta_operator.facts.models import ModelFacts
from manta_operator.planning.estimate import Estimate
from manta_operator.planning.shape import Shape

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


def on_rank(engine: EngineSpec, facts: ModelFacts, shape: Shape) -> Estimate | str:
    """Return the bytes of weights on the fullest rank, or why they cannot be counted."""
    loaded = loaded_bytes(engine, facts)
    return loaded if isinstance(loaded, str) else Estimate.within(bytes_per_rank(loaded, shape, facts), 0.02)


def loaded_bytes(engine: EngineSpec, facts: ModelFacts) -> int | str:
    """Return the bytes of the weights of one engine over all its ranks, or why they cannot be counted."""
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


def bytes_per_rank(loaded: int, shape: Shape, facts: ModelFacts) -> int:
    """Return the bytes of weights on the fullest rank, of `loaded` bytes over all ranks of one engine."""
    experts = loaded * facts.expert_share
    share = 1 / shape.expert_ranks
    if shape.expert and facts.experts:
        share = math.ceil(facts.experts / shape.expert_ranks) / facts.experts
    return math.ceil((loaded - experts) / shape.width + experts / shape.pipeline * share)


def activation_bytes(engine: EngineSpec, facts: ModelFacts) -> float:
    """Return the bytes of one value that is not quantized."""
    return DTYPE_BYTES.get(engine.dtype) or min(2.0, facts.dtype_bytes)
