"""The weights of what reads images and sounds beside a decoder: the tower and what brings its output to the decoder.

Pure; a part of the anatomy. Counted are the blocks of the tower by their own configuration, the embedding of patches,
learnt positions, and the projector (`projectors`), as transformers builds them for the families that people
serve. No method of quantization is taken to touch them: checkpoints leave them as they are. Ranks share a tower (vLLM's
mm_encoder_tp_mode "weights"), but for Pixtral's and MoonViT's, which every rank has.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from manta_operator.facts.anatomy.fields import Fields
from manta_operator.facts.anatomy.parts import Split, Weight
from manta_operator.facts.anatomy.projectors import projector, whole

_SO400M = 1152, 4304
"""Width and inner width of SigLIP-SO400M, which many towers are and few half-filled configurations spell out."""


@dataclass(frozen=True)
class Kind:
    """A kind of tower: how its blocks differ from those of SigLIP.

    `prefixes` of the model_type it goes by; `gated`: three matrices between, not two; `biases`: its matrices have them;
    `norms`: widths of norms of one block; `shared`: ranks share it; `blocks`: how many, where nothing says it.
    """

    name: str
    prefixes: tuple[str, ...]
    gated: bool = False
    biases: bool = True
    norms: int = 4
    shared: bool = True
    blocks: int = 27


_KINDS = (
    Kind("qwen2", ("qwen2_vl",), blocks=32),
    Kind("qwen2_5", ("qwen2_5_vl", "qwen2_5_omni"), gated=True, norms=2, blocks=32),
    Kind("qwen3", ("qwen3",)),
    Kind("glm4v", ("glm4v", "glm46v", "glm_ocr"), gated=True, biases=False, norms=2, blocks=24),
    Kind("kimi", ("kimi", "moonvit"), shared=False),
    Kind("pixtral", ("pixtral",), gated=True, biases=False, norms=2, shared=False, blocks=24),
    Kind("llama4", ("llama4",), blocks=34),
    Kind("clip", ("clip",), blocks=24),
    Kind("intern", ("internvl", "intern_vit"), norms=6, blocks=24),
    Kind("gemma4", ("gemma4",), gated=True, biases=False, norms=4),
)
_SIGLIP = Kind("siglip", ())


def towers(config: Mapping[str, Any], hidden: int) -> Iterator[Weight]:
    """Yield the weights of the towers beside a decoder that is `hidden` wide."""
    model = str(config.get("model_type") or "")
    vision = config.get("vision_config")
    if isinstance(vision, Mapping) and vision:
        yield from _tower(Fields(vision), model, hidden)
    audio = config.get("audio_config")
    if isinstance(audio, Mapping) and audio:
        yield from _listener(Fields(audio), hidden)


def _tower(fields: Fields, model: str, hidden: int) -> Iterator[Weight]:
    kind = _kind(fields, model)
    width = _width(fields, kind)
    blocks = fields.number("depth", "vt_num_hidden_layers", "num_hidden_layers", "layers", default=kind.blocks)
    split: Split = "tensor" if kind.shared else "none"
    inner = _inner(fields, kind, width)
    attention = 4 * width * fields.number("qkv_hidden_size", default=width)
    biases = 4 * width + inner * (2 if kind.gated else 1) + width if kind.biases else 0
    if kind.name == "intern" and not fields.flag("attention_bias"):
        biases -= 3 * width
    yield Weight("visual.attention", attention, 1, blocks, split, linear=False)
    yield Weight("visual.mlp", (3 if kind.gated else 2) * width, inner, blocks, split, linear=False)
    yield Weight("visual.biases", biases, 1, blocks, split, linear=False)
    yield Weight("visual.norms", kind.norms * width, 1, blocks, "none", linear=False)
    yield from _patches(fields, kind, width, blocks)
    yield from projector(fields, kind.name, model, width, hidden)


def _kind(fields: Fields, model: str) -> Kind:
    """Return the kind of a tower: by its own name, the names of its fields, or the model around it."""
    for said in (fields.family, model):
        for kind in _KINDS:
            if said.startswith(kind.prefixes) and (said == fields.family or fields.get("depth") is not None):
                return kind
    if fields.get("depth") is not None:
        return _KINDS[2]
    if fields.get("layers", "vt_num_hidden_layers") is not None:
        return _KINDS[4]
    return next((kind for kind in _KINDS if model.startswith(kind.prefixes)), _SIGLIP)


def _width(fields: Fields, kind: Kind) -> int:
    if kind.name == "qwen2":
        return fields.number("embed_dim", default=1280)
    return fields.number("vt_hidden_size", "hidden_size", "width")


def _inner(fields: Fields, kind: Kind, width: int) -> int:
    """Return how wide a block is between."""
    if kind.name == "qwen2":
        return 4 * width
    if kind.name == "glm4v":
        return fields.number("out_hidden_size")
    usual = _SO400M[1] if width == _SO400M[0] else 4 * width
    return fields.number("intermediate_size", "vt_intermediate_size", default=usual)


def _patches(fields: Fields, kind: Kind, width: int, blocks: int) -> Iterator[Weight]:
    """Yield what makes tokens of an image, and learnt positions."""
    name = kind.name
    size = fields.number("patch_size", default=16 if name in ("qwen3", "gemma4") else 14)
    deep = fields.number("temporal_patch_size", default=2) if name.startswith(("qwen", "glm")) else 1
    bare = name in ("pixtral", "qwen2", "qwen2_5", "llama4", "clip", "gemma4")
    channels = fields.number("in_channels", "in_chans", "num_channels", default=3)
    yield whole("visual.patches", width, channels * deep * size * size + (not bare))
    if name == "qwen3":
        yield whole("visual.positions", fields.number("num_position_embeddings", default=2304), width)
    elif name == "kimi":
        yield whole("visual.positions", fields.number("init_pos_emb_height", default=64) ** 2, width)
        yield whole("visual.norm", 2 * width)
    elif name == "pixtral":
        yield whole("visual.norm", width)
    elif name == "gemma4":
        yield whole("visual.positions", 2 * fields.number("position_embedding_size", default=10240), width)
        yield whole("visual.head_norms", 2 * fields.number("head_dim", default=64), blocks)
    elif not name.startswith("qwen"):
        side = fields.number("image_size", default=336)
        extra = 1 if name in ("llama4", "clip", "intern") else 0
        yield whole("visual.positions", (side // max(1, size)) ** 2 + extra, width)
        yield whole("visual.class_and_norms", {"intern": 1, "siglip": 2, "glm4v": 2}.get(name, 5) * width)


def _listener(fields: Fields, hidden: int) -> Iterator[Weight]:
    """Yield the weights of an encoder as Whisper's: four matrices of attention and two between, each layer."""
    width = fields.number("d_model", "hidden_size")
    inner = fields.number("encoder_ffn_dim", "intermediate_size", default=4 * width)
    blocks = fields.number("encoder_layers", "num_hidden_layers", default=0)
    yield Weight("audio.blocks", 4 * width + 2 * inner, width, blocks, linear=False)
    yield Weight("audio.projector", hidden, width, split="none", linear=False)
