"""What a recurrent layer keeps for a sequence: the state's size, from `config.json`. Pure.

The shapes are vLLM 0.32's (MambaStateShapeCalculator in model_executor/layers/mamba/mamba_utils.py, and
get_mamba_state_shape_from_config of each model), the types those of MambaStateDtypeCalculator: `auto` keeps the state
as the convolution, which has the type of the activations.
"""

from collections.abc import Mapping
from typing import Any

from manta_operator.facts.caches.layers import State

_WIDTHS = {"float32": 4.0, "float16": 2.0, "bfloat16": 2.0}
_FLOAT32 = ("nemotron_h", "qwen3_5", "qwen3_5_text", "qwen3_5_moe", "qwen3_5_moe_text")
"""Models whose state is float32 where nothing is said: NemotronHForCausalLMConfig; every published Qwen3.5 says so."""


def read(config: Mapping[str, Any]) -> State | None:
    """Return the state of one recurrent layer; None where the configuration does not give its shape."""
    for way in (_delta, _kda, _mamba2, _mamba1, _short_convolution, _linear):
        try:
            found = way(config)
        except (KeyError, TypeError, ValueError):
            continue
        if found is not None:
            return found
    return None


def _width(config: Mapping[str, Any]) -> float | None:
    """Bytes of a value of the state; None: those of the convolution."""
    said = config.get("mamba_ssm_cache_dtype") or config.get("mamba_ssm_dtype")
    if said is None and (config.get("model_type") in _FLOAT32 or "hybrid_override_pattern" in config):
        return 4.0
    return _WIDTHS.get(str(said))


def _delta(config: Mapping[str, Any]) -> State | None:
    """Gated delta net: Qwen3-Next, Qwen3.5 and later, OLMo hybrid."""
    if not config.get("linear_num_value_heads"):
        return None
    size = _whole(config, "linear_key_head_dim")
    keys = _whole(config, "linear_num_key_heads") * size
    heads, value = _whole(config, "linear_num_value_heads"), _whole(config, "linear_value_head_dim")
    return State(
        "delta",
        channels=2 * keys + heads * value,
        length=_whole(config, "linear_conv_kernel_dim", 4) - 1,
        heads=heads,
        per_head=value * size,
        width=_width(config),
    )


def _kda(config: Mapping[str, Any]) -> State | None:
    """Kimi delta attention: its state is float32 (kda_state_dtype)."""
    said = config.get("linear_attn_config")
    if not isinstance(said, Mapping):
        return None
    heads, size = _whole(said, "num_heads"), _whole(said, "head_dim")
    length = _whole(said, "short_conv_kernel_size", 4) - 1
    return State("kda", 3 * heads * size, length, heads, size * size, 4.0)


def _mamba2(config: Mapping[str, Any]) -> State | None:
    """Nemotron-H, Falcon-H1, Bamba, Granite 4, Zamba2, Mamba2: each with its own names."""
    heads = _first(config, "mamba_num_heads", "mamba_n_heads", "n_mamba_heads")
    if heads is None and config.get("model_type") == "mamba2":
        heads = _whole(config, "num_heads")
    if heads is None:
        return None
    size = _first(config, "mamba_head_dim", "mamba_d_head", "mamba_headdim", "head_dim")
    state = _first(config, "ssm_state_size", "mamba_d_state", "state_size")
    groups = _first(config, "mamba_n_groups", "mamba_ngroups", "n_groups") or 8
    kernel = _first(config, "mamba_d_conv", "conv_kernel") or 4
    if not isinstance(size, int) or state is None:
        return None
    inner = _whole(config, "mamba_d_ssm", heads * size)
    channels = inner + 2 * groups * state
    return State("mamba2", channels, kernel - 1, heads, size * state, _width(config), None, groups, 2 * state)


def _mamba1(config: Mapping[str, Any]) -> State | None:
    """Jamba, Mamba, Falcon-Mamba."""
    state = _first(config, "mamba_d_state", "state_size")
    if state is None:
        return None
    expand = _first(config, "mamba_expand", "expand") or 2
    own = _first(config, "intermediate_size") if "mamba_d_state" not in config else None
    inner = own or expand * _whole(config, "hidden_size")
    kernel = _first(config, "mamba_d_conv", "conv_kernel") or 4
    return State("mamba1", inner, kernel - 1, inner, state, _width(config))


def _short_convolution(config: Mapping[str, Any]) -> State | None:
    if not config.get("conv_L_cache"):
        return None
    channels = _first(config, "conv_dim") or _whole(config, "hidden_size")
    return State("short-conv", channels, _whole(config, "conv_L_cache") - 1)


def _linear(config: Mapping[str, Any]) -> State | None:
    """MiniMax-Text-01 and Bailing: one matrix a head."""
    if not isinstance(config.get("attn_type_list"), list):
        return None
    heads = _whole(config, "num_attention_heads")
    size = _first(config, "head_dim") or _whole(config, "hidden_size") // heads
    return State("linear", 0, 0, heads, size * size, 4.0)


def _whole(config: Mapping[str, Any], name: str, default: int | None = None) -> int:
    """Return the number under `name`, the default where there is none. Raises ValueError for anything else."""
    said = config.get(name) or default
    if isinstance(said, bool) or not isinstance(said, int) or said < 1:
        raise ValueError(f"{name} should be a whole number, it is {said!r}")
    return said


def _first(config: Mapping[str, Any], *names: str) -> int | None:
    found = next((config[name] for name in names if config.get(name) is not None), None)
    return found if isinstance(found, int) and not isinstance(found, bool) and found > 0 else None
