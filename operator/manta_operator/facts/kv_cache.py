"""As what a checkpoint wants its KV cache stored: `quantization_config` may say so, and the engine follows it. Pure.

vLLM 0.32: kv_cache_scheme of compressed-tensors is fp8 whatever it holds (layers/attention/attention.py); modelopt
names fp8 or nvfp4, at two places and in two forms (utils/torch_utils.py). Anything else is the model's own type.
"""

from collections.abc import Mapping
from typing import Any

_WORDS = ("fp8", "nvfp4")


def cached_as(quantization: Mapping[str, Any]) -> str | None:
    """Return the type of the KV cache in vLLM's words, None where the checkpoint says nothing of it."""
    method = str(quantization.get("quant_method") or "").lower()
    if method == "compressed-tensors":
        return "fp8" if isinstance(quantization.get("kv_cache_scheme"), Mapping) else None
    if not method.startswith("modelopt"):
        return None
    inner = quantization.get("quantization")
    holders = (inner if isinstance(inner, Mapping) else quantization, quantization)
    said = [holder[key] for key in ("kv_cache_scheme", "kv_cache_quant_algo") for holder in holders if holder.get(key)]
    if not said:
        return None
    word = _word(said[0]) if isinstance(said[0], Mapping) else str(said[0]).lower()
    return word if word in _WORDS else None


def _word(scheme: Mapping[str, Any]) -> str:
    if scheme.get("type") != "float":
        return ""
    fixed = scheme.get("dynamic") is False
    return {8: "fp8" if fixed else "", 4: "nvfp4"}.get(scheme.get("num_bits") or 0, "")
