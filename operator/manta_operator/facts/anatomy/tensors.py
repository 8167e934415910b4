"""The anatomy of a checkpoint from its tensors: what is there, byte by byte, cut by rank as names tell. Pure.

`best` decides between this and the anatomy that the configuration describes: where both count the same, the described
one is taken, which knows more of how vLLM cuts and pads; where they differ, the tensors are right.
"""

import re
from collections import Counter
from collections.abc import Iterable

from manta_operator.facts.anatomy.headers import Tensor
from manta_operator.facts.anatomy.parts import Anatomy, Split, Weight

Layer = tuple[Weight, ...]

_LAYER = re.compile(r"^(?P<before>(?:.*\.)?)(?:layers|h|blocks)\.(?P<index>\d+)\.(?P<rest>.+)$")
_EXPERT = re.compile(r"\.experts\.\d+\.")
_TOWERS = re.compile(r"visual|vision|audio|speech|multi_modal|mm_projector|image_newline|connector|patch_merger")
_GUESSES = re.compile(r"(^|\.)mtp(\.|_)")
_UNLOADED = re.compile(r"rotary_emb\.inv_freq|masked_bias|attn\.bias$|weight_shape$")
_WHOLE = re.compile(
    r"norm|\.q_a_proj|kv_a_proj|indexer\.|\.(gate|router)\.|shared_expert_gate|latent_proj|per_layer|wq_a|\.wkv\."
    r"|compressor|hc_|input_scale|e_score_correction|layer_scalar|(o_proj|down_proj|out_proj)\.bias"
)
_KEYS = re.compile(r"\.(k_proj|v_proj|wk|wv)\.")
_OWN = {"F64": "float32", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "I64": "int64", "I32": "int32"}
_FLOATS = ("F64", "F32", "F16", "BF16")
_AGREE = 0.005
_CERTAIN = 0.005


def best(found: Iterable[Tensor], described: Anatomy | str, layers: int, kv_heads: int, tied: bool) -> Anatomy:
    """Return the anatomy of these tensors: the described one if it counts the same, else one by their names.

    `layers` and `kv_heads` are the decoder's, `tied`: a head in the files is the embeddings once more.
    """
    seen = tensors_anatomy(found, layers, kv_heads, tied)
    if isinstance(described, str):
        return seen
    if abs(_stored(described) - _stored(seen)) <= _AGREE * _stored(seen):
        return Anatomy(described.layers, described.outside, described.guesses, _CERTAIN)
    made = tuple(weight for weight in described.outside if weight.made)
    return Anatomy(seen.layers, (*seen.outside, *made), seen.guesses or described.guesses, seen.spread)


def _stored(anatomy: Anatomy) -> float:
    """Return the bytes of a checkpoint in 16 bits where nothing quantizes it."""
    every = (*anatomy.outside, *(weight for layer in anatomy.layers for weight in layer))
    return sum(_bytes(weight) for weight in every if not weight.made)


def _bytes(weight: Weight) -> float:
    if weight.stored is not None:
        return weight.count * weight.stored.size(weight.rows, weight.columns)
    return weight.parameters * {"float32": 4, "int32": 4, "int64": 8, "uint8": 1}.get(weight.dtype or "", 2)


def tensors_anatomy(found: Iterable[Tensor], layers: int, kv_heads: int, tied: bool) -> Anatomy:
    """Return the anatomy that the names and shapes of tensors tell."""
    inside: list[Counter[tuple[str, str, tuple[int, ...]]]] = [Counter() for _ in range(layers)]
    outside: Counter[tuple[str, str, tuple[int, ...]]] = Counter()
    guesses: Counter[tuple[str, str, tuple[int, ...]]] = Counter()
    for tensor in found:
        if _UNLOADED.search(tensor.name) or (tied and tensor.name.endswith("lm_head.weight")):
            continue
        place = _LAYER.match(tensor.name)
        name = _EXPERT.sub(".experts.0.", tensor.name)
        if _GUESSES.search(name):
            guesses[name, tensor.dtype, tensor.shape] += 1
        elif place is None or _TOWERS.search(place["before"]):
            outside[name, tensor.dtype, tensor.shape] += 1
        else:
            key = _EXPERT.sub(".experts.0.", "." + place["rest"]), tensor.dtype, tensor.shape
            (inside[int(place["index"])] if int(place["index"]) < layers else guesses)[key] += 1
    equal: dict[Layer, Layer] = {}
    built = []
    for counted in inside:
        layer = _weights(counted, kv_heads)
        built.append(equal.setdefault(layer, layer))
    return Anatomy(tuple(built), _weights(outside, kv_heads), _weights(guesses, kv_heads), _CERTAIN)


def _weights(counted: Counter[tuple[str, str, tuple[int, ...]]], kv_heads: int) -> Layer:
    weights = [_weight(*key, count, kv_heads) for key, count in sorted(counted.items())]
    unpacked = [
        Weight("W_UK_W_UV", weight.rows, weight.columns, linear=False, made=True)
        for weight in weights
        if weight.name.endswith("kv_b_proj.weight") and weight.dtype is not None
    ]
    return (*weights, *unpacked)


def _weight(name: str, dtype: str, shape: tuple[int, ...], count: int, kv_heads: int) -> Weight:
    experts = ".experts." in name
    if experts and len(shape) > 2:  # all experts of a layer in one tensor
        count, shape = count * shape[0], shape[1:]
    rows, columns = (shape[0] if shape else 1), 1
    for size in shape[1:]:
        columns *= size
    split = _split(name, experts, len(shape))
    matrix = name.endswith(".weight") and len(shape) == 2 and dtype in _FLOATS
    scale = dtype in _FLOATS and ("scale" in name or name.endswith(("A_log", "correction_bias")))
    own = None if dtype in _FLOATS and not scale else _OWN.get(dtype, "uint8")
    linear = matrix and split in ("tensor", "kv", "experts") and "conv" not in name and not _TOWERS.search(name)
    ways = kv_heads if split == "kv" else 0
    if split == "vocab":
        name = "embed_tokens" if "embed" in name or "wte" in name else "lm_head"
    elif name in ("model.norm.weight", "norm.weight"):
        name = "norm"
    return Weight(name, rows, columns, count, split, linear, own, ways=ways)


def _split(name: str, experts: bool, dimensions: int) -> Split:
    if experts:
        return "experts"
    if re.search(r"(^|\.)(embed_tokens|wte|lm_head|word_embeddings|embeddings|tok_embeddings)\.weight$", name):
        return "vocab"
    if _WHOLE.search(name) or dimensions == 0:
        return "none"
    if not name.startswith(".") and (dimensions < 2 or not _TOWERS.search(name)):
        return "none"
    return "kv" if _KEYS.search(name) else "tensor"
