"""How a checkpoint has quantized its matrices: which of them, in how many bits, with how many scales. Pure.

Read from `quantization_config` as vLLM reads it (model_executor/layers/quantization): a method, numbers of it, and a
list of what it leaves out. Where there is no such list, the usual is taken to be left out: routers, towers, and of
4-bit checkpoints with latent attention that attention (`kept`). A method that is not known is told by its name.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from manta_operator.facts.anatomy.fields import Uncountable
from manta_operator.facts.anatomy.formats import (
    FP8_BLOCK,
    FP8_CHANNEL,
    FP8_TENSOR,
    INT8_CHANNEL,
    MXFP4,
    MXFP8,
    NVFP4,
    by_numbers,
    by_words,
    left_out,
    words,
)
from manta_operator.facts.anatomy.parts import Stored

_ONLINE: Mapping[str, tuple[Stored, bool]] = {
    "fp8": (FP8_TENSOR, False),
    "fp8_per_block": (FP8_BLOCK, False),
    "fp8_per_channel": (FP8_CHANNEL, False),
    "fp8_per_tensor": (FP8_TENSOR, False),
    "mxfp8": (MXFP8, False),
    "experts_int8": (INT8_CHANNEL, True),
    "int8_per_channel_weight_only": (INT8_CHANNEL, True),
    "nvfp4_per_token": (NVFP4, True),
}


@dataclass(frozen=True)
class Scheme:
    """`linear`: what matrices become; `experts`: what those of experts become. None: they stay as they are.

    `groups`: patterns of names with what those become, before the two others. `listed`: the checkpoint says itself
    what it leaves out (`ignored`).
    """

    linear: Stored | None
    experts: Stored | None
    ignored: tuple[str, ...] = ()
    groups: tuple[tuple[str, Stored | None], ...] = ()
    listed: bool = False


def while_loading(method: str) -> Scheme | None:
    """Return what vLLM's `method` makes of a checkpoint that is not quantized; None for one that is not for that."""
    if method not in _ONLINE:
        return None
    stored, experts_alone = _ONLINE[method]
    return Scheme(None if experts_alone else stored, stored)


def scheme(said: Mapping[str, Any]) -> Scheme:
    """Return the scheme of a `quantization_config`. Raises Uncountable for a method that is not known."""
    if isinstance(inner := said.get("quantization"), Mapping):
        said = {**inner, **said}  # ModelOpt's hf_quant_config.json
    method = str(said.get("quant_method") or "").lower()
    ignored, listed = left_out(said)
    if groups := said.get("config_groups"):
        return _compressed(groups, ignored)
    if method == "gpt_oss_mxfp4" or (method == "mxfp4"):
        return Scheme(None, MXFP4, ignored, listed=True)
    if isinstance(layers := said.get("quantized_layers"), Mapping) and layers:
        return _mixed(layers, ignored)
    stored = by_numbers(method, said) or by_words(method, said)
    if stored is None:
        raise Uncountable(f"weights quantized with {method or 'an unnamed method'} are not counted")
    experts_alone = "expert" in words(said)
    listed = listed or isinstance(said.get("weight_block_size"), list)  # vLLM's fp8 takes every matrix then
    experts = MXFP4 if str(said.get("expert_dtype") or "") == "fp4" else stored
    return Scheme(None if experts_alone else stored, experts, ignored, listed=listed)


def _compressed(groups: Any, ignored: tuple[str, ...]) -> Scheme:
    """Read the groups of compressed-tensors (and of ModelOpt's newer files), each with its targets."""
    every: Stored | None = None
    named: list[tuple[str, Stored | None]] = []
    for group in groups.values() if isinstance(groups, Mapping) else ():
        weights = group.get("weights") if isinstance(group, Mapping) else None
        if not isinstance(weights, Mapping):
            continue
        stored = _strategy(weights)
        for target in group.get("targets") or ("Linear",):
            if target in ("Linear", "RowParallelLinear", "ColumnParallelLinear", "FusedMoE", "MoEGMM"):
                every = stored
            else:
                named.append((str(target), stored))
    if every is None and not named:
        raise Uncountable("config.json: quantization_config has groups without weights")
    return Scheme(every, every, ignored, tuple(named), listed=True)


def _strategy(weights: Mapping[str, Any]) -> Stored:
    """Read one group's weights: their bits, and for how many of them there is a scale."""
    bits, kind = int(weights.get("num_bits") or 8), str(weights.get("type") or "int")
    group, strategy = weights.get("group_size"), str(weights.get("strategy") or "channel")
    block = weights.get("block_structure")
    zero = 0 if weights.get("symmetric", True) else bits
    if isinstance(block, list) and len(block) == 2:
        return Stored(bits, 4, int(block[0]), int(block[1]), zero)
    if kind == "float" and bits <= 8 and isinstance(group, int) and group in (16, 32):
        return Stored(bits, 1, 1, group, zero)
    if isinstance(group, int) and group > 0:
        return Stored(bits, 2, 1, group, zero)
    rows = 0 if strategy == "tensor" else 1
    return Stored(bits, 4 if bits == 8 else 2, rows, 0, zero)


def _mixed(layers: Mapping[str, Any], ignored: tuple[str, ...]) -> Scheme:
    """Read ModelOpt's list of what is quantized how, name by name; what it does not name stays as it is."""
    named = []
    for name, entry in layers.items():
        algorithm = str(entry.get("quant_algo") if isinstance(entry, Mapping) else entry)
        stored = by_words("", {"quant_algo": algorithm})
        if stored is None:
            raise Uncountable(f"weights quantized as {algorithm} are not counted")
        named.append((str(name), stored))
    return Scheme(None, None, ignored, tuple(named), listed=True)
