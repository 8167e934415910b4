"""How many bytes one weight takes on the fullest rank, and a stage of layers on its ranks. Pure; `weights.py` asks.

    share    tensor   1 / tensor                          kv       1 / min(tensor, KV heads): vLLM replicates them
             vocab    rounded up to 64, / tensor          experts  1 / (data x tensor), or whole ones, rounded up
             none     1
    stages   layers // pipeline each, what remains to the stages before the last one (vLLM's get_pp_indices)
             first stage: embeddings; last: norm and head (tied: embeddings once more); every stage: towers, positions

Quantized matrices have a scale for each block of what is on the rank.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from manta_operator.facts.anatomy.formats import MXFP4, NVFP4
from manta_operator.facts.anatomy.parts import Anatomy, Stored, Weight
from manta_operator.facts.anatomy.schemes import Scheme
from manta_operator.planning.shape import Shape

_OWN = {"float32": 4.0, "int32": 4.0, "int64": 8.0, "uint8": 1.0, "float8": 1.0, "bfloat16": 2.0, "float16": 2.0}
_VOCABULARY_STEP = 64
"""DEFAULT_VOCAB_PADDING_SIZE of vLLM's vocab_parallel_embedding.py."""
_LATENT_UP = "self_attn.kv_b_proj"
_BYTE = 8
Padding = Literal["none", "usual", "most"]
_STEPS: Mapping[Padding, tuple[int, int, int]] = MappingProxyType(
    {"none": (1, 1, 1), "usual": (64, 128, 256), "most": (64, 256, 256)}
)
"""What vLLM rounds a slice of an expert up to in NVFP4 and in MXFP4, and for MXFP4 the width of a model: by its usual
kernels, and by those that want least and most (fused_moe/oracle/mxfp4.py, quantization/utils/flashinfer_utils.py)."""
_FIRST, _LAST = ("embed_tokens", "embed_tokens_per_layer"), ("lm_head", "lm_head.bias", "norm", "hc_head")


@dataclass(frozen=True)
class Loading:
    """How the engine loads: bytes of a parameter that nothing quantizes, what it quantizes itself, for which kernels.

    `padding`: how far the kernels round experts up; which one vLLM takes depends on the accelerator and its version.
    """

    width: float
    online: Scheme | None = None
    padding: Padding = "usual"


def per_stage(anatomy: Anatomy, loading: Loading, shape: Shape) -> list[float]:
    """Return the bytes of weights on each rank of every pipeline stage."""
    sizes: dict[int, float] = {}
    for layer in anatomy.layers:
        if id(layer) not in sizes:
            sizes[id(layer)] = total(layer, loading, shape)
    layers = iter(sizes[id(layer)] for layer in anatomy.layers)
    stages = [sum(next(layers) for _ in range(count)) for count in partitions(len(anatomy.layers), shape.pipeline)]
    for weight in anatomy.outside:
        size = on_rank(weight, loading, shape)
        for index in _stages(weight, anatomy, shape.pipeline):
            stages[index] += size
    return stages


def total(weights: Iterable[Weight], loading: Loading, shape: Shape) -> float:
    """Return the bytes of these weights on one rank."""
    return sum(on_rank(weight, loading, shape) for weight in weights)


def partitions(layers: int, stages: int) -> list[int]:
    """Return how many layers each stage has (vllm/distributed/utils.py, get_pp_indices)."""
    counts = [layers // stages] * stages
    for index in range(2, layers % stages + 2):
        counts[-index] += 1
    return counts


def _stages(weight: Weight, anatomy: Anatomy, stages: int) -> Iterable[int]:
    """Return which stages have a weight from outside of the layers."""
    if weight.name in _LAST:
        return (stages - 1,)
    if weight.name in _FIRST:
        tied = weight.name == "embed_tokens" and not any(each.name == "lm_head" for each in anatomy.outside)
        return {0, stages - 1} if tied else (0,)
    return range(stages)


def on_rank(weight: Weight, loading: Loading, shape: Shape) -> float:
    """Return the bytes of one weight on the rank that has most of it."""
    rows, columns, count = _cut(weight, shape)
    stored = stored_as(weight, loading)
    if stored is None:
        return count * rows * columns * _OWN.get(weight.dtype or "", loading.width)
    if weight.split == "experts":
        rows, columns = _rounded(weight, stored, loading.padding, rows, columns)
    size = count * stored.size(rows, columns)
    if weight.name == _LATENT_UP:
        size += count * rows * columns * loading.width  # unpacked once more for decoding: W_UK and W_UV
    return size


def stored_as(weight: Weight, loading: Loading) -> Stored | None:
    """Return how a weight is quantized once it is loaded; None: it is not."""
    if weight.stored is not None or loading.online is None or not weight.linear:
        return weight.stored
    return loading.online.experts if weight.split == "experts" else loading.online.linear


def _cut(weight: Weight, shape: Shape) -> tuple[float, float, int]:
    """Return the rows, columns and number of matrices that are on the fullest rank."""
    ways, count, rows = _ways(weight, shape), weight.count, weight.rows
    if weight.split == "vocab":
        rows = _up(rows, _VOCABULARY_STEP)
    if weight.split == "experts" and shape.expert:
        return rows, weight.columns, math.ceil(count / shape.expert_ranks)
    return (rows, weight.columns / ways, count) if weight.inner else (rows / ways, weight.columns, count)


def _ways(weight: Weight, shape: Shape) -> int:
    if weight.split == "none":
        return 1
    if weight.split == "experts":
        return shape.expert_ranks
    return min(shape.tensor, weight.ways) if weight.ways else shape.tensor


def _rounded(weight: Weight, stored: Stored, padding: Padding, rows: float, columns: float) -> tuple[float, float]:
    """Return a slice of an expert as its kernel wants it."""
    if stored.bits < _BYTE and stored not in (MXFP4, NVFP4):
        return rows, columns
    nvfp4, mxfp4, wide = _STEPS[padding]
    width = wide if stored == MXFP4 else 1
    step = {MXFP4: mxfp4, NVFP4: nvfp4}.get(stored, 1)
    if weight.step and padding != "none":
        step = weight.step if padding == "usual" else max(weight.step, step)
    return (_up(rows, width), _up(columns, step)) if weight.inner else (_up(rows, step), _up(columns, width))


def _up(size: float, step: int) -> int:
    return math.ceil(size / step) * step
