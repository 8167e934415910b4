"""The facts of a record's model: what the file says, in the words of a `config.json`. The third step of `main.py`.

The file of models is like a config.json, but says some things in prose (`layer_pattern`) or not at all
(`model_type`, towers). Where Manta's catalog has the same model by its name, with the same layers and width, its
config.json is taken; else the file's words are turned by rules about families, never about one model. What no rule
reads stays unknown.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from manta_operator.facts import catalog
from manta_operator.facts.caches.kinds import LAYER_KINDS, kinds
from manta_operator.facts.models import FactsError, ModelFacts, from_config

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fit.records import Record

_FAMILIES = (
    (r"qwen-?3\.[5-9].*a\d+b|qwen-?3\.[5-9].*moe", "qwen3_5_moe_text"),
    (r"qwen-?3\.[5-9]", "qwen3_5_text"),
    (r"qwen-?3-(coder-)?next", "qwen3_next"),
    (r"qwen-?3-vl.*a\d+b", "qwen3_vl_moe_text"),
    (r"qwen-?3-vl", "qwen3_vl_text"),
    (r"qwen-?3.*a\d+b", "qwen3_moe"),
    (r"qwen-?3", "qwen3"),
    (r"qwen-?2|distill-qwen", "qwen2"),
    (r"llama-?4", "llama4_text"),
    (r"codellama|llama", "llama"),
    (r"mixtral", "mixtral"),
    (r"ministral-?3", "ministral3"),
    (r"mistral|ministral", "mistral"),
    (r"gemma-?4", "gemma4_text"),
    (r"gemma-?3n", "gemma3n_text"),
    (r"gemma-?3", "gemma3_text"),
    (r"gemma-?2", "gemma2"),
    (r"gpt-oss", "gpt_oss"),
    (r"deepseek-v3\.2", "deepseek_v32"),
    (r"deepseek-(v3|r1)", "deepseek_v3"),
    (r"deepseek-(v2|coder-v2)", "deepseek_v2"),
    (r"kimi-k2", "kimi_k2"),
    (r"glm-?4\.[5-9]", "glm4_moe"),
    (r"minimax-?m2", "minimax_m2"),
    (r"nemotron-3|nemotron-h", "nemotron_h"),
    (r"phi-?3", "phi3"),
    (r"phi-?4", "phi3"),
)
_PIXTRAL = {"model_type": "pixtral", "hidden_size": 1024, "num_hidden_layers": 24, "intermediate_size": 4096}
"""What transformers' PixtralVisionConfig is by default, and Mistral's towers are."""
_ARCHITECTURES = {"gpt_oss": "GptOssForCausalLM", "llama": "LlamaForCausalLM", "qwen2": "Qwen2ForCausalLM"}
_TREATED = re.compile(r"[-_](fp8([-_]dynamic|[-_]block)?|nvfp4|int4|int8|awq|gptq|w4a16|w8a8|bf16|bnb-4bit)$")
_SHAPE = ("hidden_size", "num_hidden_layers", "vocab_size", "num_attention_heads", "intermediate_size")
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


def find(record: Record, models: Mapping[str, Any]) -> ModelFacts | str:
    """Return the facts of a record's model; why not, where neither the file nor the catalog has it."""
    entry = models.get(record.model)
    facts = entry.get("facts") if isinstance(entry, dict) else None
    said = facts if isinstance(facts, dict) else {}
    config = _known(record, said) or (config_of(record, said) if said.get("hidden_size") else None)
    if config is None:
        return f"nothing is known of {record.model or 'its model'}"
    try:
        return from_config(config)
    except FactsError as error:
        return str(error)


def _known(record: Record, facts: Mapping[str, Any]) -> dict[str, Any] | None:
    """The catalog's configuration of this model, quantized as the record says; None where it has none that agrees."""
    entries, name = catalog.entries(), record.model.partition(" (")[0]
    named = [entries[key] for key in entries if key == name or _bare(key) == _bare(name)]
    alike = [each for each in entries.values() if _family(each.name) == _family(name) and _is_shaped(each, facts)]
    entry = next((each for each in (*named, *alike) if _agrees(each, facts)), None)
    if entry is None:
        return None
    if entry.name == record.model:
        return dict(entry.config)
    plain = {key: value for key, value in entry.config.items() if key not in ("quantization_config", "text_config")}
    text = entry.config.get("text_config") or {}
    inner = {key: value for key, value in text.items() if key != "quantization_config"}
    nested = {"text_config": inner} if inner else {}
    return plain | nested | {"quantization_config": _quantization(record, facts)}


def _agrees(entry: catalog.Entry, facts: Mapping[str, Any]) -> bool:
    """Whether nothing that the file says of the shape contradicts the entry."""
    text = entry.config.get("text_config") or entry.config
    if any(facts.get(key) not in (None, text.get(key)) for key in _SHAPE):
        return False
    said = [LAYER_KINDS.get(kind) for kind in _kinds(str(facts.get("layer_pattern") or ""), dict(text))]
    return not said or None in said or tuple(said) == kinds(text, len(said))


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
    config.setdefault("model_type", _family(record.model))
    config.setdefault("architectures", [_ARCHITECTURES.get(config["model_type"], f"{config['model_type']}")])
    config.setdefault("torch_dtype", "bfloat16")
    if "pixtral" in str(facts.get("vision") or ""):
        config["vision_config"] = dict(_PIXTRAL)
    config.setdefault("n_shared_experts", facts.get("shared_experts") or 0)
    if "layer_types" not in config and (kinds := _kinds(str(facts.get("layer_pattern") or ""), config)):
        config["layer_types"] = kinds
        if size := _SIZE.search(str(facts.get("layer_pattern")).lower()):
            config.setdefault("sliding_window", int(size.group(1)))
    return config | {"quantization_config": _quantization(record, facts)}


def _family(name: str) -> str:
    short = name.rpartition("/")[2].lower()
    return next((family for pattern, family in _FAMILIES if re.search(pattern, short)), "unknown")


def _kinds(pattern: str, config: Mapping[str, Any]) -> list[str]:
    """The kinds of layers that a pattern in prose says; its own words for each where no rule reads it."""
    layers, said = int(config.get("num_hidden_layers") or 0), pattern.lower()
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
