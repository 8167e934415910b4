"""Which layers of a decoder attend to everything, to a window, or keep a state: from its `config.json`. Pure.

`read.py` asks for the kinds and then measures each layer. The ways in which configurations say it are vLLM
0.32's (model_executor/models/*.py) in the order of how plainly they do; a word that is not known here makes the
answer a sentence, for a wrong number would refuse a model that serves.
"""

from collections.abc import Mapping
from typing import Any

LAYER_KINDS = {
    "full_attention": "full",
    "attention": "full",
    "global_attention": "full",
    "full": "full",
    "sliding_attention": "window",
    "sliding_window": "window",
    "local_attention": "window",
    "chunked_attention": "chunked",
    "linear_attention": "recurrent",
    "recurrent": "recurrent",
    "mamba": "recurrent",
    "mamba2": "recurrent",
    "conv": "recurrent",
    "short_conv": "recurrent",
    "hybrid": "both",
    "moe": "none",
    "mlp": "none",
}
"""What the words of `layer_types` and `layers_block_type` mean."""
_PATTERN = {"M": "recurrent", "*": "full", "-": "none", "E": "none"}
"""Nemotron-H's letters (model_executor/models/nemotron_h.py)."""
_ALL_RECURRENT = ("mamba", "mamba2", "falcon_mamba")
_ALTERNATING = {"gemma2": 2, "gpt_oss": 2}
"""Models without a pattern of their own whose even layers have the window: every n-th layer attends to everything."""
_PATTERNED = {"gemma3": 6, "gemma3_text": 6, "cohere2": 4}
"""The defaults of `sliding_window_pattern` (transformers, configuration_*.py)."""


def kinds(config: Mapping[str, Any], layers: int) -> tuple[str, ...] | str:
    """Return the kind of each of the `layers`: full, window, chunked, recurrent, both or none; or what is not known."""
    for way in (_listed, _lettered, _indexed, _recurrent, _windowed):
        found = way(config, layers)
        if isinstance(found, str):
            return found
        if found:
            return found if len(found) == layers else f"{len(found)} kinds of layers for {layers} layers"
    return ("full",) * layers


def _listed(config: Mapping[str, Any], layers: int) -> tuple[str, ...] | str:
    lists = [config[key] for key in ("layer_types", "layers_block_type") if isinstance(config.get(key), list)]
    said: list[Any] = lists[0] if lists else []
    unknown = sorted({str(word) for word in said if str(word) not in LAYER_KINDS})
    if unknown:
        return f"layers of {', '.join(unknown)}"
    return tuple(LAYER_KINDS[str(word)] for word in said[:layers])


def _lettered(config: Mapping[str, Any], layers: int) -> tuple[str, ...] | str:
    said = config.get("hybrid_override_pattern")
    if not isinstance(said, str) or not said:
        return ()
    unknown = sorted(set(said) - set(_PATTERN))
    return f"layers of {', '.join(unknown)}" if unknown else tuple(_PATTERN[letter] for letter in said[:layers])


def _indexed(config: Mapping[str, Any], layers: int) -> tuple[str, ...]:
    """Models that say which layers attend, by number, and leave the others to a recurrence or a window."""
    if isinstance(config.get("hybrid_layer_pattern"), list):  # MiMo-V2: 1 has a window
        return tuple("window" if each else "full" for each in config["hybrid_layer_pattern"])
    if isinstance(config.get("attn_type_list"), list):  # MiniMax-Text-01: 0 is linear
        return tuple("full" if each else "recurrent" for each in config["attn_type_list"])
    full = _attending(config, layers)
    return () if full is None else tuple("full" if layer in full else "recurrent" for layer in range(layers))


def _attending(config: Mapping[str, Any], layers: int) -> set[int] | None:
    """The numbers of the layers that attend, from 0; None where nobody says it."""
    linear = config.get("linear_attn_config")
    if isinstance(linear, Mapping) and isinstance(linear.get("full_attn_layers"), list):
        return {number - 1 for number in linear["full_attn_layers"] if isinstance(number, int)}
    if isinstance(config.get("attn_layer_indices"), list):
        return set(config["attn_layer_indices"])
    period, offset = config.get("attn_layer_period"), config.get("attn_layer_offset") or 0
    if isinstance(period, int) and period > 0:
        return {layer for layer in range(layers) if layer % period == offset}
    interval = config.get("full_attention_interval")
    if not isinstance(interval, int) and config.get("linear_num_value_heads"):
        interval = 4  # transformers, configuration_qwen3_next.py
    if isinstance(interval, int) and interval > 0 and config.get("linear_num_value_heads"):
        return {layer for layer in range(layers) if (layer + 1) % interval == 0}
    return None


def _recurrent(config: Mapping[str, Any], layers: int) -> tuple[str, ...]:
    model = config.get("model_type")
    if model in _ALL_RECURRENT:
        return ("recurrent",) * layers
    return ("both",) * layers if model == "falcon_h1" else ()


def _windowed(config: Mapping[str, Any], layers: int) -> tuple[str, ...]:
    if config.get("attention_chunk_size"):
        return _chunked(config, layers)
    if not config.get("sliding_window") or not config.get("use_sliding_window", True):
        return ()
    model, pattern = str(config.get("model_type") or ""), config.get("sliding_window_pattern")
    if isinstance(pattern, str) and pattern:  # EXAONE 4: LLLG
        return tuple("window" if pattern[layer % len(pattern)] == "L" else "full" for layer in range(layers))
    every = pattern or _PATTERNED.get(model) or _ALTERNATING.get(model)
    if isinstance(every, int) and every > 0:
        return tuple("full" if (layer + 1) % every == 0 else "window" for layer in range(layers))
    if model.startswith("qwen") and isinstance(config.get("max_window_layers"), int):
        return tuple("window" if layer >= config["max_window_layers"] else "full" for layer in range(layers))
    return ("window",) * layers


def _chunked(config: Mapping[str, Any], layers: int) -> tuple[str, ...]:
    """Llama 4: layers with rotary positions attend to their chunk, those without to everything."""
    rotary = config.get("no_rope_layers")
    if isinstance(rotary, list) and len(rotary) == layers:
        return tuple("chunked" if each else "full" for each in rotary)
    step = config.get("no_rope_layer_interval") or 4
    return tuple("full" if (layer + 1) % step == 0 else "chunked" for layer in range(layers))
