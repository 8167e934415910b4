"""Completes `--hf-overrides` for scaled rotary positions with what only the model's config.json says.

vLLM puts the `rope_parameters` of --hf-overrides in the place of the model's own, after it has filled in defaults:
what they lack is lost. Without `rope_theta` it computes with 10000 whatever the model was trained with, and without
the longer `max_position_embeddings` it refuses the longer context. The command line comes from the operator, which may
not see the checkpoint; the launcher does. `command.py` calls `complete_flags` once, before anything starts, where the
operator asks for it (`--complete-hf-overrides`): what a user has written into spec.engine.args goes to vLLM as it is.

    rope_theta, partial_rotary_factor    of the model
    original_max_position_embeddings     of the model, where the spec names none
    max_position_embeddings              original x factor for yarn and llama3; original for linear and dynamic, which
                                         vLLM multiplies itself (config/model.py, _get_and_verify_max_len)
    model_max_length and its like        the same where the model has them: vLLM takes model_max_length before all
                                         others, else the least (model_arch_config_convertor.py)
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from manta_runtime.engine.settings import SettingsError
from manta_runtime.engine.vllm_flags import find_flag

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

FLAG = "--hf-overrides"
_MULTIPLIED_BY_VLLM = ("linear", "dynamic")
_DEFAULT_THETA = 10000.0
_FIRST = "model_max_length"
_LENGTHS = (
    "max_position_embeddings",
    "n_positions",
    "max_seq_len",
    "seq_length",
    "max_sequence_length",
    "max_seq_length",
    "seq_len",
)
_KEPT = ("partial_rotary_factor", "mrope_section", "mrope_interleaved")


def complete_flags(flags: Sequence[str], model: Path) -> tuple[str, ...]:
    """Return vLLM's flags with the overrides completed; unchanged where they scale no positions.

    Args:
        flags: As given after `--`.
        model: Folder of the model.

    Raises:
        SettingsError: the model's own positions rule the scaling out, or its config.json cannot be read.
    """
    overrides = _overrides(find_flag(flags, FLAG))
    scaling = overrides.get("rope_parameters")
    if not isinstance(scaling, dict) or "factor" not in scaling:
        return tuple(flags)
    completed = f"{FLAG}={json.dumps(complete(overrides, _config(model)), separators=(',', ':'))}"
    return tuple(completed if flag.startswith(f"{FLAG}=") else flag for flag in flags)


def complete(overrides: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the overrides for a model with this config.json: what they say themselves stays.

    Raises:
        SettingsError: the model's own positions rule the scaling out.
    """
    nested = isinstance(config.get("text_config"), dict) and "max_position_embeddings" in config["text_config"]
    text = config["text_config"] if nested else config
    asked = dict(overrides["rope_parameters"])
    original, own = _original(asked, text), own_parameters(text)
    kept = {key: own[key] for key in _KEPT if key in own}
    scaling = {"rope_theta": own.get("rope_theta", _DEFAULT_THETA), **kept, **asked}
    scaling.setdefault("original_max_position_embeddings", original)
    factor = 1.0 if scaling.get("rope_type") in _MULTIPLIED_BY_VLLM else float(scaling["factor"])
    result = {key: value for key, value in overrides.items() if key != "rope_parameters"}
    said = ["max_position_embeddings", *(key for key in (_FIRST, *_LENGTHS) if _is_length(text.get(key)))]
    length = {key: int(original * factor) for key in said if key not in result}
    if nested:
        beside = result.get("text_config") or {}
        return result | {"text_config": {**beside, "rope_parameters": scaling, **length}}
    return result | {"rope_parameters": scaling, **length}


def own_parameters(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the model's own rope parameters, in the words of Transformers 5 whatever its config.json is written in."""
    own = dict(config.get("rope_parameters") or config.get("rope_scaling") or {})
    for name, old in (("rope_theta", "rotary_emb_base"), ("partial_rotary_factor", "rotary_pct")):
        value = next((config[key] for key in (name, old) if config.get(key) is not None), None)
        if value is not None:
            own.setdefault(name, value)
    return own


def _original(asked: Mapping[str, Any], text: Mapping[str, Any]) -> int:
    """Return the length that the factor counts from."""
    own = own_parameters(text)
    if any(isinstance(value, dict) for value in own.values()):
        raise SettingsError(
            "the layers of this model have rotary positions of several kinds, and one scaling does not fit them all: "
            "leave spec.engine.ropeScaling out, or write --hf-overrides for each kind into spec.engine.args"
        )
    given = asked.get("original_max_position_embeddings")
    if given:
        return int(given)
    kind = own.get("rope_type") or own.get("type") or "default"
    if kind not in ("default", "mrope"):
        raise SettingsError(
            f"this model scales its positions already ({kind}): leave spec.engine.ropeScaling out, or say in "
            "originalMaxPositionEmbeddings from which length the new scaling counts, which takes the place of its own"
        )
    lengths = [text[key] for key in _LENGTHS if _is_length(text.get(key))]
    length = text[_FIRST] if _is_length(text.get(_FIRST)) else min(lengths, default=None)
    if length is None:
        raise SettingsError(
            "the model's config.json has no max_position_embeddings to scale: "
            "set spec.engine.ropeScaling.originalMaxPositionEmbeddings"
        )
    return int(length)


def _is_length(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _overrides(text: str | None) -> dict[str, Any]:
    try:
        found = json.loads(text) if text else {}
    except ValueError:
        return {}  # vLLM says what is wrong with it
    return found if isinstance(found, dict) else {}


def _config(model: Path) -> dict[str, Any]:
    path = model / "config.json"
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise SettingsError(f"{path} is needed to scale the model's positions, and cannot be read: {error}") from error
    if not isinstance(found, dict):
        raise SettingsError(f"{path} is no JSON object: fetch or copy the model again")
    return found
