"""How many bytes the weights take on each rank once the engine has loaded them. Pure; the fit's first term.

    rank = the fullest of the pipeline stages: its layers, what is outside of them, what the engine makes of them
                                                                                        planning/memory/weights_rank.py
         + room for LoRA adapters + what guesses tokens                                 planning/memory/weights_more.py

The weights are those of the checkpoint's headers where they are seen, else of the anatomy that its config.json
describes (facts/anatomy/). What is not quantized is loaded in the engine's dtype; auto takes float32 down to 16
bits, as vLLM does. Where neither says enough, the answer is a sentence instead of a number.

Where only the sum of the bytes is known:

    per rank = (weights - experts) / (tensor x pipeline)         every data rank has a copy of its own
             + experts / pipeline x share                        share: of one layer's experts, on the fullest rank

    share    = ceil(number / (data x tensor)) / number           expert parallel: whole experts
             = 1 / (data x tensor)                               otherwise: a slice of each

Data ranks share the experts in both cases: vLLM's FusedMoEParallelConfig splits them over data x tensor.
"""

import math
from dataclasses import replace
from functools import lru_cache

from manta_operator.api.adapters import LoraSpec
from manta_operator.api.models import EngineSpec
from manta_operator.facts.accelerators import Accelerator
from manta_operator.facts.anatomy.parts import Anatomy
from manta_operator.facts.anatomy.schemes import while_loading
from manta_operator.facts.models import ModelFacts
from manta_operator.planning import dtypes
from manta_operator.planning.estimate import Estimate
from manta_operator.planning.memory.weights_more import guessing, room_for_adapters
from manta_operator.planning.memory.weights_rank import Loading, Padding, per_stage
from manta_operator.planning.shape import Shape

_LOADED_AS = {
    "fp8": 1.0,
    "fp8_per_block": 1.0,
    "fp8_per_channel": 1.0,
    "fp8_per_tensor": 1.0,
    "int8_per_channel_weight_only": 1.0,
    "mxfp8": 1.0,
    "nvfp4_per_token": 0.5625,  # 4 bits, and one byte of scale for 16 of them
}
_ROCM = 0.2
"""How much more ROCm may take: rows padded by 256 bytes, experts laid out anew. Start-ups on MI300X show 0.7, 1.0, 2.1,
20 and 35 % for five models and shapes; the last is left out, for nothing in vLLM 0.32 explains it."""
_SUMMED = 0.02
"""How far the bytes of a rank may be off where only those of the whole checkpoint are known."""


def on_rank(
    engine: EngineSpec,
    facts: ModelFacts,
    shape: Shape,
    *,
    lora: LoraSpec | None = None,
    draft: ModelFacts | None = None,
    on: Accelerator | None = None,
) -> Estimate | str:
    """Return the bytes of weights on the fullest rank, or why they cannot be counted.

    `lora`: what is kept free for adapters where the engine's spec does not say it; `draft`: the model that guesses,
    where it is known; `on`: what it computes on, on which the type of values depends; AMD's kernels keep more.
    """
    found = _of_model(engine, facts, shape, lora, on)
    if draft is None or isinstance(found, str):
        return found
    beside = on_rank(_unguessed(engine), draft, Shape(shape.tensor, 1, 1, "mp"), on=on)
    return beside if isinstance(beside, str) else found + beside


def _of_model(
    engine: EngineSpec, facts: ModelFacts, shape: Shape, lora: LoraSpec | None, on: Accelerator | None
) -> Estimate | str:
    width = dtypes.width(engine, facts, on)
    loading = _loading(engine, facts, width)
    if isinstance(loading, str):
        return loading
    if facts.anatomy is None:
        loaded = loaded_bytes(engine, facts, width)
        if isinstance(loaded, str):
            return facts.uncounted or loaded
        return Estimate.within(bytes_per_rank(loaded, shape, facts), _SUMMED)
    found = _counted(_Same(facts.anatomy), loading, shape, lora or engine.lora, _guesses(engine))
    if on is not None and on.is_rocm:
        found = Estimate(found.value, found.low, found.high * (1 + _ROCM))
    return found


class _Same:
    """An anatomy that is equal to itself alone: to compare two of them takes as long as to count one."""

    def __init__(self, anatomy: Anatomy) -> None:
        self.anatomy = anatomy

    def __hash__(self) -> int:
        return id(self.anatomy)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self.anatomy is other.anatomy


@lru_cache(maxsize=512)  # advice asks again for every length of the context, on which no weight depends
def _counted(same: _Same, loading: Loading, shape: Shape, lora: LoraSpec | None, guesses: bool) -> Estimate:
    """Count with the usual kernels; the bounds are those of the kernels that round up least and most."""
    anatomy = same.anatomy
    room = room_for_adapters(anatomy, lora, loading, shape) if lora is not None else 0.0

    def size(padding: Padding) -> float:
        how = replace(loading, padding=padding)
        beside = room + (guessing(anatomy, how, shape) if guesses else 0.0)
        return float(math.ceil(max(per_stage(anatomy, how, shape)) + beside))

    spread = anatomy.spread
    return Estimate(size("usual"), size("none") * (1 - spread), size("most") * (1 + spread))


def _guesses(engine: EngineSpec) -> bool:
    """Whether the model guesses tokens with layers of its own."""
    speculative = engine.speculative
    return speculative is not None and speculative.model is None and speculative.method == "mtp"


def _unguessed(engine: EngineSpec) -> EngineSpec:
    """Return how the engine loads its draft: as it is stored, and with nothing that guesses for it."""
    return engine.model_copy(update={"speculative": None, "lora": None, "quantization": "auto"})


def _loading(engine: EngineSpec, facts: ModelFacts, width: float) -> Loading | str:
    asked = engine.quantization
    if facts.quantization or asked in ("auto", "none"):
        return Loading(width)
    if (online := while_loading(asked)) is None:
        return f"not modelled yet: quantization {asked} of a checkpoint that is not quantized"
    return Loading(width, online)


def loaded_bytes(engine: EngineSpec, facts: ModelFacts, width: float) -> int | str:
    """Return the bytes of the weights of one engine over all its ranks, or why they cannot be counted.

    `width`: bytes of a value that nothing quantizes.
    """
    if facts.weights_bytes is None:
        return "the checkpoint has no safetensors files: its weights cannot be counted"
    if facts.quantization:
        return facts.weights_bytes
    if engine.quantization in _LOADED_AS:
        width = _LOADED_AS[engine.quantization]
    elif engine.quantization not in ("auto", "none"):
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
