"""The weights of what reads images and sounds beside a decoder: the tower and what brings its output to the decoder.

Pure; a part of the anatomy. Counted are the transformer blocks of the tower by their own configuration, the embedding
of patches, learnt positions and the projector of the families that people serve (transformers' models of Qwen-VL,
SigLIP, CLIP, Pixtral, Llama 4 and MoonViT). No method of quantization is taken to touch them: checkpoints leave them
as they are. Ranks share a tower (mm_encoder_tp_mode "weights"), but Pixtral's and MoonViT's.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from manta_operator.facts.anatomy import Split, Weight
from manta_operator.facts.anatomy_fields import Fields

_SO400M = 1152, 4304
"""Width and inner width of SigLIP-SO400M, which many towers are and few half-filled configurations spell out."""
_WHOLE = ("pixtral", "moonvit", "kimi_k25", "kimi_k25_vision", "mistral3", "kimi_vl", "moonvit3d")
_GATED = ("pixtral", "qwen2_5_vl", "glm4v", "glm4v_moe", "glm4v_vision", "glm4v_moe_vision", "glm_ocr_vision")
_PLAIN_NORMS = ("pixtral", "qwen2_5_vl", "glm4v", "glm4v_vision", "glm4v_moe_vision")
_NO_BIASES = ("pixtral", "glm4v", "glm4v_vision", "glm4v_moe_vision")
_QWEN3 = (
    "qwen3_vl",
    "qwen3_vl_moe",
    "qwen3_5",
    "qwen3_5_moe",
    "qwen3_5_vision",
    "qwen3_vl_vision",
    "qwen3_vl_moe_vision",
)


def towers(config: Mapping[str, Any], hidden: int) -> Iterator[Weight]:
    """Yield the weights of the towers beside a decoder that is `hidden` wide."""
    kind = str(config.get("model_type") or "")
    vision = config.get("vision_config")
    if isinstance(vision, Mapping) and vision:
        yield from _tower(Fields(vision), kind, hidden)
    elif "pixtral" in str(config.get("vision") or ""):
        yield from _tower(Fields(_PIXTRAL), "mistral3", hidden)
    audio = config.get("audio_config")
    if isinstance(audio, Mapping) and audio:
        yield from _listener(Fields(audio), hidden)


_PIXTRAL = {"model_type": "pixtral", "hidden_size": 1024, "num_hidden_layers": 24, "intermediate_size": 4096}
"""PixtralVisionConfig's defaults, which Mistral's models have."""


_TELLING = (
    "qwen2_vl",
    "qwen2_5_vl",
    "qwen3_vl",
    "qwen3_vl_moe",
    "qwen3_5",
    "qwen3_5_moe",
    "llama4",
    "gemma3",
    "kimi_vl",
)


def _tower(fields: Fields, kind: str, hidden: int) -> Iterator[Weight]:
    family = fields.family or _guessed(fields, kind)
    width = fields.number("embed_dim", "vt_hidden_size", "hidden_size", "width")
    usual_blocks = 34 if family.startswith("llama4") else 27 if width == _SO400M[0] else None
    blocks = fields.number("depth", "vt_num_hidden_layers", "num_hidden_layers", "layers", default=usual_blocks)
    usual = _SO400M[1] if width == _SO400M[0] else 4 * width
    inner = fields.number("intermediate_size", "vt_intermediate_size", default=usual)
    if family == "qwen2_vl":
        inner, kind = 4 * width, "qwen2_vl"
    split: Split = "none" if family in _WHOLE or kind in _WHOLE else "tensor"
    biases = 0 if family in _NO_BIASES else 4 * width + inner * (2 if family in _GATED else 1) + width
    norms = (2 if family in _PLAIN_NORMS else 4) * width
    attention = 4 * width * fields.number("qkv_hidden_size", default=width)
    yield Weight("visual.attention", attention, 1, blocks, split, linear=False)
    yield Weight("visual.mlp", (3 if family in _GATED else 2) * width, inner, blocks, split, linear=False)
    yield Weight("visual.biases", biases, 1, blocks, split, linear=False)
    yield Weight("visual.norms", norms, 1, blocks, "none", linear=False)
    yield from _patches(fields, family, width)
    yield from _projector(fields, family, kind, width, hidden)


def _guessed(fields: Fields, kind: str) -> str:
    """Return the family of a tower that does not say it: by the names of its fields, or the model around it."""
    if kind in _TELLING:
        return kind
    if kind.startswith("qwen3_5"):
        return "qwen3_5"
    if fields.get("depth") is not None:
        return "qwen3_vl"
    return "kimi_k25" if fields.get("layers", "vt_num_hidden_layers") is not None else kind


def _patches(fields: Fields, family: str, width: int) -> Iterator[Weight]:
    qwen = family.startswith("qwen")
    size = fields.number("patch_size", default=16 if family in _QWEN3 else 14)
    deep = fields.number("temporal_patch_size", default=2) if qwen or family.startswith("glm4v") else 1
    bare = family in ("pixtral", "qwen2_vl", "qwen2_5_vl", "llama4_vision_model", "clip_vision_model")
    channels = fields.number("in_channels", "in_chans", "num_channels", default=3)
    yield Weight("visual.patches", width, channels * deep * size * size + (not bare), split="none", linear=False)
    if family in _QWEN3:
        yield _whole("visual.positions", fields.number("num_position_embeddings", default=2304), width)
    elif family in ("kimi_k25", "kimi_k25_vision", "moonvit", "kimi_vl"):
        yield _whole("visual.positions", fields.number("init_pos_emb_height", default=64) ** 2, width)
        yield _whole("visual.norm", 2 * width)
    elif not qwen and family != "pixtral":
        image = fields.number("image_size", default=336)
        extra = 1 if family in ("llama4_vision_model", "clip_vision_model", "llama4") else 0
        yield _whole("visual.positions", (image // size) ** 2 + extra, width)
        yield _whole("visual.class_and_norms", (4 + extra if extra else 2) * width)
    else:
        yield _whole("visual.norm", width if family == "pixtral" else 0)


def _whole(name: str, rows: int, columns: int = 1) -> Weight:
    return Weight(name, rows, columns, split="none", linear=False)


def _projector(fields: Fields, family: str, kind: str, width: int, hidden: int) -> Iterator[Weight]:
    """Yield what joins patches and brings them to the decoder's width."""
    out = fields.number("out_hidden_size", default=hidden)
    merged = width * fields.number("spatial_merge_size", default=2) ** 2
    if family in _QWEN3:
        deep = fields.get("deepstack_visual_indexes")
        more = len(deep) if isinstance(deep, list) else 0 if family.startswith("qwen3_5") else 3
        yield Weight("visual.merger", merged, merged + 1, 1 + more, linear=False)
        yield Weight("visual.merger.out", out, merged + 1, 1 + more, linear=False)
        yield _whole("visual.merger.norm", 2 * width + 2 * merged * more)
    elif family in ("qwen2_vl", "qwen2_5_vl"):
        out = fields.number("hidden_size", default=hidden) if family == "qwen2_vl" else out
        yield Weight("visual.merger", merged, merged + 1, linear=False)
        yield Weight("visual.merger.out", out, merged + 1, linear=False)
        yield _whole("visual.merger.norm", (2 if family == "qwen2_vl" else 1) * width)
    elif family in ("kimi_k25", "kimi_k25_vision", "moonvit", "kimi_vl"):
        yield _whole("multi_modal_projector", merged + hidden, merged + 1)
        yield _whole("multi_modal_projector.norm", 2 * width)
    elif kind == "gemma3":
        yield _whole("multi_modal_projector", hidden, width)
        yield _whole("multi_modal_projector.norm", width)
    elif family == "pixtral" and kind == "mistral3":
        yield _whole("multi_modal_projector.merge", width, merged)
        yield _whole("multi_modal_projector", hidden, hidden + width)
        yield _whole("multi_modal_projector.norm", width)
    elif kind == "llama4" or family in ("llama4", "llama4_vision_model"):
        middle = fields.number("projector_input_dim", default=4096)
        shuffled = fields.number("intermediate_size", default=4 * width)
        yield _whole("visual.adapter", middle, shuffled)
        yield _whole("visual.adapter.out", fields.number("projector_output_dim", default=4096), middle)
        yield _whole("multi_modal_projector", hidden, fields.number("vision_output_dim", default=4096))
    else:
        yield _whole("multi_modal_projector", hidden, width + hidden + 2)


def _listener(fields: Fields, hidden: int) -> Iterator[Weight]:
    """Yield the weights of an encoder as Whisper's: four matrices of attention and two between, each layer."""
    width = fields.number("d_model", "hidden_size")
    inner = fields.number("encoder_ffn_dim", "intermediate_size", default=4 * width)
    blocks = fields.number("encoder_layers", "num_hidden_layers", default=0)
    yield Weight("audio.blocks", 4 * width + 2 * inner, width, blocks, linear=False)
    yield Weight("audio.projector", hidden, width, split="none", linear=False)
