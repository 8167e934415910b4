"""What brings the output of a tower to the width of the decoder: a merger, a projector, an adapter. Pure.

A part of `vision`, as transformers builds it for each kind of tower and model.
"""

from collections.abc import Iterator

from manta_operator.facts.anatomy.fields import Fields
from manta_operator.facts.anatomy.parts import Weight


def whole(name: str, rows: int, columns: int = 1) -> Weight:
    """Return what every rank has whole and nothing quantizes."""
    return Weight(name, rows, columns, split="none", linear=False)


def projector(fields: Fields, kind: str, model: str, width: int, hidden: int) -> Iterator[Weight]:
    """Yield the projector between a tower of `kind`, `width` wide, and the decoder, `hidden` wide."""
    merged = width * fields.number("spatial_merge_size", default=2) ** 2
    if kind in ("qwen2", "qwen2_5", "qwen3"):
        yield from _merger(fields, kind, model, merged, hidden)
    elif kind == "kimi":
        yield whole("multi_modal_projector", merged + hidden, merged + 1)
        yield whole("multi_modal_projector.norm", 2 * width)
    elif kind == "glm4v":
        yield from _glm(fields, width, hidden)
    elif kind == "intern":
        shuffled = width * 4
        yield whole("multi_modal_projector", hidden, shuffled + 1 + hidden + 1)
        yield whole("multi_modal_projector.norm", 2 * shuffled)
    elif kind == "gemma4" or model == "gemma3":
        yield whole("multi_modal_projector", hidden, width)
        yield whole("multi_modal_projector.norm", 0 if kind == "gemma4" else width)
    elif kind == "pixtral" and not model.startswith("llava"):
        yield whole("multi_modal_projector.merge", width, merged)
        yield whole("multi_modal_projector", hidden, hidden + width)
        yield whole("multi_modal_projector.norm", width)
    elif kind == "llama4":
        middle = fields.number("projector_input_dim", default=4096)
        yield whole("visual.adapter", middle, fields.number("intermediate_size", default=4 * width))
        yield whole("visual.adapter.out", fields.number("projector_output_dim", default=4096), middle)
        yield whole("multi_modal_projector", hidden, fields.number("vision_output_dim", default=4096))
    else:
        yield whole("multi_modal_projector", hidden, width + hidden + 2)
        if model.startswith("llava_next"):
            yield whole("image_newline", hidden)


def _merger(fields: Fields, kind: str, model: str, merged: int, hidden: int) -> Iterator[Weight]:
    """Yield Qwen's: two matrices over the patches of one token; Qwen3-VL has more of them for deeper layers."""
    out = fields.number("hidden_size" if kind == "qwen2" else "out_hidden_size", default=hidden)
    deep = fields.get("deepstack_visual_indexes")
    more = 0
    if kind == "qwen3" and not f"{fields.family} {model}".count("qwen3_5"):
        more = len(deep) if isinstance(deep, list) else _DEEP
    yield Weight("visual.merger", merged, merged + 1, 1 + more, linear=False)
    yield Weight("visual.merger.out", out, merged + 1, 1 + more, linear=False)
    side = fields.number("spatial_merge_size", default=2) ** 2
    yield whole("visual.merger.norm", (1 if kind == "qwen2_5" else 2) * merged // side + 2 * merged * more)


_DEEP = 3
"""Layers of Qwen3-VL's tower that reach the decoder by themselves (Qwen3VLVisionConfig)."""


def _glm(fields: Fields, width: int, hidden: int) -> Iterator[Weight]:
    """Yield GLM-4V's: a convolution that joins patches, and a gated block."""
    out = fields.number("out_hidden_size", default=hidden)
    side = fields.number("spatial_merge_size", default=2)
    inner = fields.number("intermediate_size", default=4 * out)
    yield whole("visual.downsample", out, width * side * side + 1)
    yield Weight("visual.merger", 3 * inner, out, linear=False)
    yield whole("visual.merger.proj", out, out)
    yield whole("visual.merger.norm", 2 * out)
