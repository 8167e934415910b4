"""The formats of quantized matrices, and how configurations name them: in numbers, or in words. Pure.

A part of `schemes`. The numbers are those of vLLM's methods (model_executor/layers/quantization).
"""

from collections.abc import Iterator, Mapping
from typing import Any

from manta_operator.facts.anatomy.fields import Uncountable
from manta_operator.facts.anatomy.parts import Stored

FP8_TENSOR = Stored(8, 4, 0, 0)
FP8_CHANNEL = Stored(8, 4, 1, 0)
FP8_BLOCK = Stored(8, 4, 128, 128)
INT8_CHANNEL = Stored(8, 4, 1, 0)
MXFP4 = Stored(4, 1, 1, 32)
MXFP8 = Stored(8, 1, 1, 32)
NVFP4 = Stored(4, 1, 1, 16)
NF4 = Stored(4, 4, 1, 64)
"""bitsandbytes: one float32 for 64 values."""
NF4_TWICE = Stored(4, 1, 1, 64)
"""The same where these are quantized too (bnb_4bit_use_double_quant), as in nearly every such checkpoint."""

_LEFT_OUT = (
    "modules_to_not_convert",
    "ignored_layers",
    "exclude_modules",
    "ignore",
    "llm_int8_skip_modules",
    "exclude",
)
_COUNTED = ("auto_awq", "auto_gptq", "awq", "awq_marlin", "gptq", "gptq_marlin")
"""Methods whose configuration has to name the bits (auto_awq.py, auto_gptq.py)."""
_NAMES = ("quant_algo", "scheme", "format", "note", "quant_type")
"""Where words name a format."""
_WHOLE = 16
"""Bits of what is not quantized."""


def left_out(said: Mapping[str, Any]) -> tuple[tuple[str, ...], bool]:
    """Return the modules that a checkpoint leaves as they are, and whether it says so itself."""
    found, listed = list(_excepted(said)), False
    for key in _LEFT_OUT:
        if isinstance(names := said.get(key), list):
            found, listed = [*found, *(str(name) for name in names)], True
            break
    return tuple(found), listed or bool(found)


def _excepted(said: Mapping[str, Any]) -> Iterator[str]:
    """Yield what AutoRound (extra_config) and GPTQModel (dynamic) leave out, entry by entry."""
    for key in ("extra_config", "dynamic"):
        entries = said.get(key)
        for name, entry in entries.items() if isinstance(entries, Mapping) else ():
            bits = entry.get("bits") if isinstance(entry, Mapping) else None
            if str(name).startswith("-:"):
                yield f"re:{str(name)[2:]}"
            elif isinstance(bits, int) and bits >= _WHOLE:
                plain = str(name).removeprefix("+:")
                yield f"re:{plain}" if any(sign in plain for sign in "*\\^$(") else plain


def by_numbers(method: str, said: Mapping[str, Any]) -> Stored | None:
    """Return what a method makes of a matrix, from its numbers; None where they are not there.

    Raises:
        Uncountable: vLLM asks for the bits, and they are missing or no number.
    """
    block, bits, group = said.get("weight_block_size"), said.get("bits") or said.get("w_bit"), said.get("group_size")
    if isinstance(block, list) and len(block) == 2:
        return Stored(8, 4, int(block[0]), int(block[1]))
    if method in ("fp8", "fbgemm_fp8", "deepseek_v4_fp8", "deepseek_fp8"):
        return FP8_CHANNEL if method == "fbgemm_fp8" else FP8_TENSOR
    if method == "quark":
        return _quark(said)
    if method in ("bitsandbytes", "bnb"):
        if said.get("load_in_8bit"):
            return INT8_CHANNEL
        return NF4_TWICE if said.get("bnb_4bit_use_double_quant", True) else NF4
    if bits is None and method in _COUNTED and not any(said.get(key) for key in _NAMES):
        raise Uncountable(f"config.json: quantization_config of {method} does not say its bits")
    if bits is not None and (isinstance(bits, bool) or not isinstance(bits, int)):
        raise Uncountable(f"config.json: quantization_config.bits should be an integer, it is {bits!r}")
    if isinstance(bits, int):
        across = group if isinstance(group, int) and group > 0 else 0
        awq = method in ("awq", "auto_awq", "awq_marlin")
        zero = bits if (said.get("zero_point", awq) if awq else not said.get("sym", True)) else 0
        return Stored(bits, 2, 1, across, zero)
    return None


def _quark(said: Mapping[str, Any]) -> Stored | None:
    """Read AMD Quark's weights of all layers alike."""
    every = said.get("global_quant_config") or said.get("layer_type_quant_config")
    weight = every.get("weight") if isinstance(every, Mapping) else None
    if isinstance(weight, list):
        weight = weight[0] if weight else None
    if not isinstance(weight, Mapping):
        return None
    kind, scheme = str(weight.get("dtype")), str(weight.get("qscheme"))
    if "fp4" in kind:
        return MXFP4
    if "fp8" in kind:
        return FP8_CHANNEL if scheme == "per_channel" else FP8_TENSOR
    if kind in ("int8", "uint8"):
        return INT8_CHANNEL
    group = weight.get("group_size")
    return Stored(4, 2, 1, group if isinstance(group, int) else 0) if "int4" in kind else None


def words(said: Mapping[str, Any]) -> str:
    """Return what a configuration says in words where it has no numbers."""
    return " ".join(str(said[key]) for key in (*_NAMES, "quant_method") if said.get(key)).lower()


def by_words(method: str, said: Mapping[str, Any]) -> Stored | None:
    """Return what is meant by names such as NVFP4, FP8, W4A16 or MXFP4."""
    text = f"{method} {words(said)}".replace("_", " ").replace("-", " ")
    if "nvfp4" in text or "modelopt fp4" in text:
        return NVFP4
    if "mxfp4" in text or "mxfp8" in text:
        return MXFP8 if "mxfp8" in text else MXFP4
    if "fp8" in text and "block" in text:
        return FP8_BLOCK
    if "fp8" in text:
        return FP8_CHANNEL if "channel" in text or "dynamic" in text else FP8_TENSOR
    if any(word in text for word in _BYTES) and not any(word in text for word in ("int4", "w4a16")):
        return INT8_CHANNEL
    group = next((size for size in (16, 32, 64, 128) if f"group {size}" in text or f"g{size}" in text), 128)
    named = any(word in text for word in ("int4", "w4a16", "w4a8", "awq", "gptq", "4bit", "4 bit"))
    return Stored(4, 2, 1, group, 4 if "awq" in text else 0) if named else None


_BYTES = ("int8", "w8a8", "w8a16", "8bit", "8 bit")
