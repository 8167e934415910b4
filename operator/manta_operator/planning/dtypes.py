"""In how many bytes values are that nothing quantizes, and which types an accelerator or a model refuses. Pure.

As vLLM 0.32 chooses them (config/model.py, _resolve_auto_dtype): float32 becomes 16 bits; below compute capability 8.0
there is no bfloat16, so that `auto` takes float16, or float32 for models that may not be float16
(_FLOAT16_NOT_SUPPORTED_MODELS; platforms/cuda.py, check_if_supports_dtype).
"""

from manta_operator.api.models import EngineSpec, LLMDeploymentSpec
from manta_operator.facts.accelerators import Accelerator
from manta_operator.facts.models import ModelFacts
from manta_operator.planning.problems import Problem

BYTES = {"bfloat16": 2.0, "float16": 2.0, "float32": 4.0}
_NO_FLOAT16 = (
    "Gemma2ForCausalLM",
    "Gemma3ForCausalLM",
    "Gemma3ForConditionalGeneration",
    "Gemma3TextModel",
    "Glm4ForCausalLM",
)
_BFLOAT16 = 80
"""Least compute capability x 10 with bfloat16."""


def width(engine: EngineSpec, facts: ModelFacts, on: Accelerator | None = None) -> float:
    """Return the bytes of one value that is not quantized; `on`: None for any accelerator that has bfloat16."""
    if engine.dtype != "auto":
        return BYTES[engine.dtype]
    if on is not None and _without_bfloat16(on) and facts.architecture in _NO_FLOAT16:
        return 4.0
    return min(2.0, facts.dtype_bytes)


def problems(spec: LLMDeploymentSpec, facts: ModelFacts | None, on: Accelerator) -> tuple[Problem, ...]:
    """Return why vLLM would refuse the type that is asked for."""
    asked = spec.engine.dtype
    if asked == "bfloat16" and _without_bfloat16(on):
        has = (on.capability or 0) / 10
        said = f"bfloat16 needs compute capability 8.0, and {on.type} has {has:.1f}"
        return (Problem("spec.engine.dtype", said, "use auto, or another spec.accelerator.type"),)
    if asked == "float16" and facts is not None and facts.architecture in _NO_FLOAT16:
        said = f"vLLM refuses {facts.architecture} in float16, in which it is not stable"
        return (Problem("spec.engine.dtype", said, "use auto, bfloat16 or float32"),)
    return ()


def _without_bfloat16(on: Accelerator) -> bool:
    return on.capability is not None and on.capability < _BFLOAT16
