"""What an engine keeps beside the model's own weights: room for LoRA adapters, and what guesses tokens. Pure.

vLLM makes the room when it starts, used or not (vllm/lora/layers): for each slot and each matrix that an adapter can
change, `rank` rows of its inputs, on every rank, and `rank` columns of its outputs, cut as the matrix is; of one that
is cut by its inputs, the other way round.
"""

import math
from collections.abc import Iterable

from manta_operator.api.adapters import LoraSpec
from manta_operator.facts.anatomy.parts import Anatomy, Weight
from manta_operator.planning.memory.weights_rank import Loading, total
from manta_operator.planning.shape import Shape

_VOCABULARY = ("embed_tokens", "lm_head")
_KEPT = ("visual", "audio", "multi_modal", "eh_proj")


def room_for_adapters(anatomy: Anatomy, lora: LoraSpec, loading: Loading, shape: Shape) -> float:
    """Return the bytes on one rank of the stage with most layers."""
    stage = math.ceil(len(anatomy.layers) / shape.pipeline)
    distinct = {id(layer): layer for layer in anatomy.layers}
    numbers = {each: _numbers(layer, lora, shape) for each, layer in distinct.items()}
    most = sum(numbers[id(layer)] for layer in anatomy.layers[:stage])
    ends = [weight for weight in anatomy.outside if weight.name in _VOCABULARY]
    outside = (*anatomy.outside, *(ends if len(ends) == 1 else ()))  # a tied head has room of its own
    return (most + _numbers(outside, lora, shape)) * lora.max_loaded * min(2.0, loading.width)


def _numbers(weights: Iterable[Weight], lora: LoraSpec, shape: Shape) -> float:
    """Return how many numbers one slot has for these weights."""
    return sum(
        lora.max_rank * weight.count * _sides(weight, shape)
        for weight in weights
        if (weight.linear or weight.name in _VOCABULARY) and not weight.name.startswith(_KEPT)
    )


def _sides(weight: Weight, shape: Shape) -> float:
    """Return inputs plus outputs of one matrix, each as far as it is on the rank."""
    ways = 1 if weight.split == "none" else min(shape.tensor, weight.ways or shape.tensor)
    if weight.split == "experts" and shape.expert:
        return (weight.rows + weight.columns) / shape.expert_ranks
    return weight.columns / ways + weight.rows if weight.inner else weight.columns + weight.rows / ways


def guessing(anatomy: Anatomy, loading: Loading, shape: Shape) -> float:
    """Return the bytes of the layers that the model itself brings to guess tokens, on a rank of the last stage."""
    return total(anatomy.guesses, loading, shape)
