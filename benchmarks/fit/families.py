"""What a family of models is by its names, and what every published one of it has although files leave it out.

A file of models has the numbers of a decoder. That Qwen3.5 and later come with a tower for pictures, and with a layer
that guesses ahead, stands in their config.json and not there. Rules are about families, never about one model. Used by
`models.py`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from fit.records import number_of

if TYPE_CHECKING:
    from collections.abc import Mapping

_NAMES = (
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
_ARCHITECTURES = {"gpt_oss": "GptOssForCausalLM", "llama": "LlamaForCausalLM", "qwen2": "Qwen2ForCausalLM"}
_PIXTRAL = {"model_type": "pixtral", "hidden_size": 1024, "num_hidden_layers": 24, "intermediate_size": 4096}
"""What transformers' PixtralVisionConfig is by default, and Mistral's towers are."""
_QWEN3_5 = {
    "model_type": "qwen3_5", "depth": 27, "hidden_size": 1152, "intermediate_size": 4304, "patch_size": 16,
    "num_position_embeddings": 2304, "deepstack_visual_indexes": [],
}  # fmt: skip
"""What transformers' Qwen3_5VisionConfig is by default, and those of the published models from 9B on are."""
_SIGLIP = {
    "model_type": "siglip_vision_model", "hidden_size": 1152, "num_hidden_layers": 27, "intermediate_size": 4304,
    "patch_size": 14, "image_size": 896,
}  # fmt: skip
"""The tower of Gemma 3 from 4B on."""
_SIGLIP_FROM = 2560
_GUESS_AHEAD = ("qwen3_next", "qwen3_5_text", "qwen3_5_moe_text", "deepseek_v3", "deepseek_v32", "glm4_moe")
"""Families whose checkpoints all have one layer for MTP."""
_GUESSING_LAYERS = ("num_nextn_predict_layers", "mtp_num_hidden_layers", "mtp_layers")


def family_of(name: str) -> str:
    """Return the `model_type` that a model of this name has; "unknown"."""
    short = name.rpartition("/")[2].lower()
    return next((family for pattern, family in _NAMES if re.search(pattern, short)), "unknown")


def left_out(family: str, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a config.json of this family has besides what the file says of the model."""
    found: dict[str, Any] = {"architectures": [_ARCHITECTURES.get(family, family)], "torch_dtype": "bfloat16"}
    if tower := _tower(family, facts):
        found["vision_config"] = tower
    if family in _GUESS_AHEAD and all(facts.get(key) is None for key in _GUESSING_LAYERS):
        found["mtp_num_hidden_layers"] = 1
    return {key: value for key, value in found.items() if facts.get(key) is None}


def _tower(family: str, facts: Mapping[str, Any]) -> dict[str, Any] | None:
    width = number_of(facts.get("hidden_size")) or 0
    if "pixtral" in str(facts.get("vision") or ""):
        return dict(_PIXTRAL)
    if family.startswith("qwen3_5"):
        return _QWEN3_5 | {"out_hidden_size": int(width)}
    return dict(_SIGLIP) if family == "gemma3_text" and width >= _SIGLIP_FROM else None
