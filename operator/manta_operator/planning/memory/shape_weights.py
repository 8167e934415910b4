"""Can the weights of a model be cut into so many equal parts? Pure; a part of what makes a shape impossible.

vLLM refuses an MLP that does not divide (distributed/utils.py, divide; fused_moe/config.py), of weights in fp8 with a
scale for each block a part that ends within a block (quantization/utils/fp8_utils.py, validate_fp8_block_shape), and of
weights in 4 bits one that ends within a group (auto_awq.py; kernels/linear/mixed_precision/marlin.py).
"""

from collections.abc import Iterator

from manta_operator.facts.anatomy.formats import MXFP4, NVFP4
from manta_operator.facts.anatomy.parts import Weight
from manta_operator.facts.models import ModelFacts

_VOCABULARY_STEP = 64
"""Rows of a vocabulary are padded to a multiple of this before they are cut (vocab_parallel_embedding.py)."""
_MLP = "mlp."
_OUTPUT = "self_attn.o_proj"
"""Of attention, the only one that is cut by its inputs. In fp8 models may let their heads end within a block."""
_BYTE = 8
_ROUNDED = (MXFP4, NVFP4)
"""Kernels for these round parts up themselves."""


def uncut(facts: ModelFacts, tensor: int, experts: int) -> str | None:
    """Return why weights cannot be cut, where that is certain; None where they can, or are not known.

    Args:
        facts: The model.
        tensor: Ranks that share a weight.
        experts: Ranks that share each expert; 1 where ranks hold whole ones.
    """
    for weight in _of_layers(facts):
        ways = experts if weight.split == "experts" else tensor
        whole = weight.split not in ("tensor", "experts") or weight.columns == 1
        if ways == 1 or whole or not (_MLP in weight.name or weight.name == _OUTPUT):
            continue
        size = weight.columns if weight.inner else weight.rows
        what = f"the {size} {'inputs' if weight.inner else 'outputs'} of {weight.name}"
        if size % ways and _MLP in weight.name:
            return f"{what} cannot be cut into {ways} equal parts"
        block = _block(weight)
        if block and size % (ways * block):
            kind = "a block" if weight.stored and weight.stored.bits == _BYTE else "a group"
            bits = "fp8" if kind == "a block" else "4 bits"
            return f"{what} make parts of {size // ways} for {ways} ranks, which end within {kind} of {block} ({bits})"
    return None


def splits_evenly(facts: ModelFacts, tensor: int) -> bool:
    """Whether it is certain that every weight can be cut into `tensor` equal parts."""
    if facts.anatomy is None or uncut(facts, tensor, tensor) is not None:
        return False
    return all(_divides(tensor, weight) for weight in (*facts.anatomy.outside, *_of_layers(facts)))


def _of_layers(facts: ModelFacts) -> Iterator[Weight]:
    """Yield the weights of the layers, those of equal layers once: they share one tuple."""
    layers = {id(layer): layer for layer in (facts.anatomy.layers if facts.anatomy else ())}
    for layer in layers.values():
        yield from layer


def _block(weight: Weight) -> int:
    """Return of how many values a part must be a multiple: a block of fp8, or a group of inputs in fewer bits."""
    stored = weight.stored
    if stored is None or stored.columns <= 1:
        return 0
    if stored.bits < _BYTE and weight.inner and weight.split == "tensor" and stored not in _ROUNDED:
        return stored.columns if stored.columns < weight.columns else 0
    if stored.bits != _BYTE or stored.rows <= 1 or _MLP not in weight.name:
        return 0
    return stored.columns if weight.inner else stored.rows


def _divides(tensor: int, weight: Weight) -> bool:
    if weight.split == "vocab":
        return -(-weight.rows // _VOCABULARY_STEP) * _VOCABULARY_STEP % tensor == 0
    if weight.split in ("tensor", "experts"):
        return (weight.columns if weight.inner else weight.rows) % tensor == 0
    return True
