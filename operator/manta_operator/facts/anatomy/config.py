"""The anatomy of a model from its `config.json`. Pure; `models.from_config` calls it.

    layers    each: norms, what mixes tokens, what feeds them forward     kinds.py, attention.py, recurrent.py, mlp.py
    outside   embeddings, head, last norm, table of positions, towers     vision.py
    guesses   the layer that guesses tokens (multi-token prediction)

Every kind of layer is built once, so that equal ones are one object. A family that nobody knows is taken for a decoder
as Llama's if all the fields of one are there; where they are not, the answer is a sentence.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from manta_operator.facts.anatomy import attention, mlp, recurrent, special, vision
from manta_operator.facts.anatomy.fields import Fields, Uncountable
from manta_operator.facts.anatomy.kinds import Feed, Mixer, kinds
from manta_operator.facts.anatomy.parts import Anatomy, Weight, vector
from manta_operator.facts.anatomy.traits import TRAITS, Traits, traits

Layer = tuple[Weight, ...]

_KNOWN = 0.01
"""How far the weights of a family that a row of traits, or the usual fields, describe may be off."""
_STRANGE = 0.03
"""The same of a family that is taken for a decoder as Llama's."""


def anatomy(config: Mapping[str, Any]) -> Anatomy | str:
    """Return the weights that `config` describes, or why they cannot be counted."""
    text = next((config[key] for key in _DECODERS if isinstance(config.get(key), Mapping)), None)
    beside = {key: config[key] for key in _SHARED if key in config}
    fields = Fields(text, beside) if text else Fields(config)
    try:
        return _anatomy(fields, config)
    except Uncountable as error:
        return str(error)


_DECODERS = ("text_config", "llm_config", "language_config")
"""Where multimodal models keep the configuration of their decoder."""
_SHARED = ("tie_word_embeddings", "vocab_size")


def _anatomy(fields: Fields, config: Mapping[str, Any]) -> Anatomy:
    _refuse(fields)
    found = traits(fields.family, frozenset(name for name in _TELLING if fields.get(name) is not None))
    tower = tuple(vision.towers(config, fields.hidden))
    spread = _KNOWN if fields.family in TRAITS or not fields.family else _STRANGE
    layers = special.layers(fields, found) or _layers(fields, found)
    outside = (*_ends(fields, found, bool(tower)), *special.outside(fields), *tower)
    return Anatomy(layers, outside, tuple(_guesses(fields, layers)), spread)


_TELLING = ("linear_num_value_heads", "hybrid_override_pattern")


def _refuse(fields: Fields) -> None:
    """Raise Uncountable for what is no decoder of these layers."""
    if fields.family in _OTHERS:
        raise Uncountable(f"the weights of {fields.family} are not counted: its layers are not known")


_OTHERS = frozenset(
    {
        "bloom",
        "falcon",
        "falcon_mamba",
        "gemma3n",
        "gpt2",
        "gpt_neox",
        "gptj",
        "inkling",
        "longcat_flash",
        "longcat_flash_ngram",
        "mamba",
        "mamba2",
        "minicpm3",
        "mllama",
        "mllama_text_model",
        "mpt",
        "opt",
        "recurrent_gemma",
        "rwkv",
        "step3",
        "t5",
        "whisper",
        "xlstm",
        "zamba",
        "zamba2",
    }
)
"""Families whose configurations have other names, or whose layers have weights of another kind."""


def _layers(fields: Fields, found: Traits) -> tuple[Layer, ...]:
    built: dict[tuple[Mixer, Feed], Layer] = {}
    every = kinds(fields)
    for kind in every:
        if kind not in built:
            built[kind] = tuple(_layer(fields, found, *kind))
    return tuple(built[kind] for kind in every)


def _layer(fields: Fields, found: Traits, mixer: Mixer, feed: Feed) -> Iterator[Weight]:
    norms = found.norms if mixer == "none" or feed == "none" or found.norms != 1 else 1
    yield vector("norms", norms * (2 if found.norm_bias else 1) * fields.hidden)
    if fields.number("attn_res_block_size", default=0):
        yield vector("residual_norms_and_projections", 4 * fields.hidden)
    yield from _mixer(fields, found, mixer)
    if feed == "experts":
        yield from mlp.experts(fields, found)
    elif feed == "dense":
        yield from mlp.dense(fields, found, _width(fields))


def _mixer(fields: Fields, found: Traits, mixer: Mixer) -> Iterator[Weight]:
    if mixer == "full":
        yield from attention.grouped(fields, found)
    elif mixer == "both":
        yield from attention.grouped(fields, found)
        yield from recurrent.mamba2(fields)
    elif mixer != "none":
        build: dict[str, Callable[[Fields], Iterator[Weight]]] = {
            "latent": attention.latent,
            "follower": partial(attention.latent, chooses=False),
            "delta": recurrent.delta_net,
            "kimi": recurrent.kimi_delta,
            "mamba1": recurrent.mamba1,
            "mamba2": recurrent.mamba2,
            "conv": recurrent.short_convolution,
        }
        yield from build[mixer](fields)


def _width(fields: Fields) -> int:
    """Return how wide a dense block is between."""
    if fields.family == "granitemoehybrid":
        return fields.number("shared_intermediate_size")
    if fields.flag("block_auto_adjust_ff_dim"):  # LFM2 (vLLM's Lfm2MLP)
        said = fields.get("block_ffn_dim_multiplier")
        width = int(
            (said if isinstance(said, int | float) else 1)
            * (2 * fields.number("block_ff_dim", "intermediate_size") // 3)
        )
        step = fields.number("block_multiple_of", default=256) or 1
        return -(-width // step) * step
    return fields.number("intermediate_size_mlp", "dense_intermediate_size", "intermediate_size", "ffn_hidden_size")


def _ends(fields: Fields, found: Traits, towers: bool) -> Iterator[Weight]:
    """Yield embeddings, head, last norm, and the table of positions that the engine makes."""
    vocabulary, hidden = fields.number("vocab_size"), fields.hidden
    yield Weight("embed_tokens", vocabulary, hidden, split="vocab", linear=False)
    if not fields.flag("tie_word_embeddings", found.tied):
        yield Weight("lm_head", vocabulary, hidden, split="vocab", linear=False)
        if fields.flag("lm_head_bias", fields.family == "phi"):
            yield Weight("lm_head.bias", vocabulary, 1, split="vocab", linear=False)
    if found.norms:
        yield vector("norm", (2 if found.norm_bias else 1) * hidden)
    if fields.number("attn_res_block_size", default=0):
        yield vector("norm.residual", 2 * hidden)
    if turned := _turned(fields):
        positions = fields.number("max_position_embeddings", "seq_length", default=8192) * _turns(fields, towers)
        kept = "float32" if fields.number("kv_lora_rank", default=0) else None
        yield Weight("rotary_table", positions, turned, split="none", linear=False, dtype=kept, made=True)


def _turns(fields: Fields, towers: bool) -> int:
    """Return how many times the table is as long: positions in images have a longer one (vLLM's MRotaryEmbedding)."""
    parameters = fields.within("rope_parameters") or fields.within("rope_scaling")
    sections = parameters is not None and parameters.get("mrope_section") is not None
    return 4 if sections or (towers and fields.family.startswith("qwen")) else 1


def _turned(fields: Fields) -> int:
    """Return how many numbers of a head turn with the position: the width of vLLM's cos_sin_cache."""
    if fields.get("qk_rope_head_dim") is not None:
        return fields.number("qk_rope_head_dim")
    heads = fields.number("num_attention_heads", "n_head", default=0)
    size = fields.number("head_dim", default=fields.hidden // heads if heads else 0)
    share = fields.get("partial_rotary_factor")
    parameters = fields.within("rope_parameters")
    if share is None and parameters:
        share = parameters.get("partial_rotary_factor")
    if share is None and fields.get("linear_num_value_heads") is not None:
        share = 0.25  # Qwen3NextConfig
    if share is not None and not isinstance(share, int | float):
        raise Uncountable(f"config.json: partial_rotary_factor should be a number, it is {share!r}")
    return size if share is None else int(size * share)


def _guesses(fields: Fields, layers: tuple[Layer, ...]) -> Iterator[Weight]:
    """Yield the layers that guess tokens: of the last kind with attention, two norms and what joins both inputs."""
    count = fields.number("num_nextn_predict_layers", "mtp_num_hidden_layers", "mtp_layers", default=0)
    if not count or not layers:
        return
    full = [layer for layer in layers if any(weight.name == "self_attn.o_proj" for weight in layer)]
    for weight in full[-1] if full else layers[-1]:
        yield Weight(**{**vars(weight), "count": weight.count * count})
    yield Weight("eh_proj", fields.hidden, 2 * fields.hidden, count, "none", linear=False)
    yield vector("enorm_hnorm_norm", 3 * fields.hidden * count)
