"""The facts of a record's model: what the file says, in the words of a `config.json`. The third step of `main.py`.

The file of models is like a config.json, but says some things in prose (`layer_pattern`) or not at all
(`model_type`, towers). Where Manta's catalog has the same model by its name, with the same layers and width, its
config.json is taken, unless any number that both have differs; else the file's words are turned by rules about families
(`families.py`), never about one model. What no rule reads stays unknown. Without the catalog all models are read so, as
those are that it does not have.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from fit.families import family_of, left_out
from fit.records import number_of
from manta_operator.facts import catalog
from manta_operator.facts.caches.kinds import LAYER_KINDS, kinds
from manta_operator.facts.models import FactsError, ModelFacts, from_config

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fit.records import Record

_TREATED = re.compile(r"[-_](fp8([-_]dynamic|[-_]block)?|nvfp4|int4|int8|awq|gptq|w4a16|w8a8|bf16|bnb-4bit)$")
_SHAPE = ("hidden_size", "num_hidden_layers", "vocab_size", "num_attention_heads", "intermediate_size")
_CALLED = {
    "num_experts": ("n_routed_experts", "num_local_experts", "moe_num_experts"),
    "shared_experts": ("n_shared_experts",),
    "num_experts_per_tok": ("moe_topk", "top_k_experts", "num_experts_per_token"),
}
"""Fields of the file that configurations have under other names."""
_LENGTH = "max_position_embeddings"
"""No part of the architecture: checkpoints of one shape are published for several lengths."""
_LAYERS_LIMIT = 4096
_EVERY = re.compile(
    r"full(?:[ -]attention)? every (\d+)(?:st|nd|rd|th)?|every (\d+)(?:st|nd|rd|th)(?: layer)?(?: is)? full"
)
_RATIO = re.compile(r"(\d+)[^:\d]*(?:\(\d+\))?[^:\d]*:\s*(\d+)")
_COUNTS = re.compile(r"(\d+) (?:full|global|attention)[^/\d]*/ ?(\d+) |(\d+) [^/]*/ ?(\d+) (?:full|global|attention)")
_WORDS = (
    (r"sliding|window|local(?!.*chunk)|swa", "sliding_attention"),
    (r"chunk", "chunked_attention"),
    (r"gated|delta|gdn|linear", "linear_attention"),
    (r"mamba|ssm", "mamba"),
)
"""What the layers are that do not attend to everything; chunks before windows where a pattern says both."""
_SIZE = re.compile(r"(?:sliding|window|local|swa)[^()\d]*\(?(\d{2,6})\b")


def find(record: Record, models: Mapping[str, Any], *, with_catalog: bool = True) -> ModelFacts | str:
    """Return the facts of a record's model; why not, where neither the file nor the catalog has it."""
    entry = models.get(record.model)
    facts = entry.get("facts") if isinstance(entry, dict) else None
    said = {key: _plain(value) for key, value in facts.items()} if isinstance(facts, dict) else {}
    config = _known(record, said) if with_catalog else None
    if config is None:
        config = config_of(record, said) if said.get("hidden_size") else None
    if config is None:
        return f"nothing is known of {record.model or 'its model'}"
    try:
        return from_config(config)
    except FactsError as error:
        return str(error)


def _plain(value: object) -> object:
    """A number, where a text says one."""
    number = number_of(value) if isinstance(value, str) else None
    return value if number is None else int(number) if number.is_integer() else number


def _known(record: Record, facts: Mapping[str, Any]) -> dict[str, Any] | None:
    """The catalog's configuration of this model, quantized as the record says; None where it has none that agrees."""
    entries, name = catalog.entries(), record.model.partition(" (")[0]
    named = [entries[key] for key in entries if key == name or _bare(key) == _bare(name)]
    alike = [each for each in entries.values() if family_of(each.name) == family_of(name) and _is_shaped(each, facts)]
    entry = next((each for each in (*named, *alike) if _agrees(each, facts)), None)
    if entry is None:
        return None
    config = dict(entry.config)
    inner = dict(config.get("text_config") or {})
    own = config.get("quantization_config") or inner.get("quantization_config")
    if entry.name != record.model or not own:
        inner.pop("quantization_config", None)
        config["quantization_config"] = _quantization(record, facts)
    if facts.get(_LENGTH) is not None:
        (inner or config)[_LENGTH] = facts[_LENGTH]
    return config | ({"text_config": inner} if inner else {})


def _agrees(entry: catalog.Entry, facts: Mapping[str, Any]) -> bool:
    """Whether nothing that the file says of the architecture contradicts the entry."""
    text = entry.config.get("text_config") or entry.config
    if any(facts.get(key) not in (None, text.get(key)) for key in _SHAPE):
        return False
    if any(_differs(value, _said_of(key, entry.config, text)) for key, value in facts.items()):
        return False
    pattern = str(facts.get("layer_pattern") or "")
    said = [LAYER_KINDS.get(kind) for kind in _kinds(pattern, dict(text))]
    return not said or None in said or tuple(said) == kinds(text, len(said))


def _said_of(key: str, config: Mapping[str, Any], text: Mapping[str, Any]) -> object:
    """What a configuration says of a field of the file, under whatever name; None where it says nothing."""
    if key == _LENGTH:
        return None
    if key == "head_dim" and text.get(key) is None and not text.get("qk_rope_head_dim"):
        return text["hidden_size"] // text["num_attention_heads"]
    names = (key, *_CALLED.get(key, ()))
    return next((each[name] for each in (text, config) for name in names if each.get(name) is not None), None)


def _differs(value: object, known: object) -> bool:
    """Whether both are numbers, or flags, and not the same."""
    return isinstance(value, int | float) and isinstance(known, int | float) and value != known


def _is_shaped(entry: catalog.Entry, facts: Mapping[str, Any]) -> bool:
    """Whether the entry has every number of the file's: the same architecture under another name."""
    text = entry.config.get("text_config") or entry.config
    read = all(kind in LAYER_KINDS for kind in _kinds(str(facts.get("layer_pattern") or ""), dict(text)))
    return read and all(facts.get(key) is not None and facts[key] == text.get(key) for key in _SHAPE)


def _bare(name: str) -> str:
    """A model's name without its organisation and what was done to its weights."""
    return _TREATED.sub("", name.rpartition("/")[2].lower())


def config_of(record: Record, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the facts in the words of a `config.json`."""
    config = {
        key: value for key, value in facts.items() if value is not None and key not in ("layer_pattern", "vision")
    }
    config.setdefault("model_type", family_of(record.model))
    config |= left_out(str(config["model_type"]), facts)
    config.setdefault("n_shared_experts", facts.get("shared_experts") or 0)
    if "layer_types" not in config and (kinds := _kinds(str(facts.get("layer_pattern") or ""), config)):
        config["layer_types"] = kinds
        if size := _SIZE.search(str(facts.get("layer_pattern")).lower()):
            config.setdefault("sliding_window", int(size.group(1)))
    return config | {"quantization_config": _quantization(record, facts)}


def _kinds(pattern: str, config: Mapping[str, Any]) -> list[str]:
    """The kinds of layers that a pattern in prose says; its own words for each where no rule reads it."""
    layers, said = _layers(config), pattern.lower()
    other = next((kind for word, kind in reversed(_WORDS) if re.search(word, said)), None)
    if "chunk" in said:
        other = "chunked_attention"
    if not said or other is None:
        return [pattern] * layers if pattern else []
    if "alternating" in said:
        pair = (other, "full_attention")
        first = 0 if re.search(r"alternating\s+(?!full|global)", said) else 1
        return [pair[(layer + first) % 2] for layer in range(layers)]
    step, before = _step(said, layers)
    return (
        [other if layer % step < before else "full_attention" for layer in range(layers)]
        if step
        else [pattern] * layers
    )


def _layers(config: Mapping[str, Any]) -> int:
    """How many layers there are; 0 where no number says it, and the facts tell what is wrong with it."""
    layers = number_of(config.get("num_hidden_layers")) or 0
    return int(layers) if 0 < layers <= _LAYERS_LIMIT else 0


def _step(said: str, layers: int) -> tuple[int, int]:
    """After how many layers a pattern repeats, and how many of them do not attend to everything; 0: not said."""
    if every := _EVERY.search(said):
        step = int(every.group(1) or every.group(2))
        return step, step - 1
    if ratio := _RATIO.search(said):
        others, full = int(ratio.group(1)), int(ratio.group(2))
        return (others + full, others) if full else (0, 0)
    if counts := _COUNTS.search(said):
        full = int(counts.group(1) or counts.group(4))
        return (layers // full, layers // full - 1) if full and layers % full == 0 else (0, 0)
    return 0, 0


def _quantization(record: Record, facts: Mapping[str, Any]) -> dict[str, Any]:
    """What the file says of the checkpoint, under the method that the record says; nothing where it says none."""
    said = facts.get("quantization_config")
    own = dict(said) if isinstance(said, dict) else {}
    method = record.quantization
    if method in ("none", "None", ""):
        return {}
    if method is None:
        return own
    if not own:
        own = {"scheme": f"{method} {record.model}"}
    own.setdefault("quant_method", "modelopt" if method == "nvfp4" else method)
    if method == "nvfp4":
        own.setdefault("quant_algo", "NVFP4")
    if method == "auto-round":
        own = {"bits": 4, "group_size": 128} | own
    return own
