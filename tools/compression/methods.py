"""The ways to make a checkpoint smaller that this repository tries on its tiny model. Pure data; compress.py does them.

A method is a list of modifiers of llm-compressor with their arguments, in order, or a format of auto-round. Nothing
here is about the tiny model: the same methods are meant for real ones.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Step = tuple[str, Mapping[str, Any]]
"""A modifier of llm-compressor by its class, and its arguments."""


@dataclass(frozen=True)
class Method:
    """One way, by name: what its weights are stored as (proof.py), its steps, with how many texts it is calibrated.

    `slow`: it takes minutes. `auto_round` names a format of auto-round (4 bits, round to nearest), instead of steps.
    """

    name: str
    title: str
    stored: str
    steps: tuple[Step, ...] = ()
    auto_round: str = ""
    samples: int = 0
    slow: bool = field(default=True, kw_only=True)


LINEAR: Mapping[str, Any] = {"targets": "Linear", "ignore": ["lm_head"]}
"""All linear layers but the last, whose errors are the tokens' own."""
SPARSE: Mapping[str, Any] = {"targets": [r"re:.*layers\.\d+$"], "sparsity": 0.5, "mask_structure": "2:4"}
"""Modifiers that prune want the blocks that hold the linear layers: with `Linear` they find none, and say nothing."""


def _rounded(scheme: str) -> tuple[Step, ...]:
    return (("QuantizationModifier", {**LINEAR, "scheme": scheme}),)


METHODS = (
    Method("int8", "int8 W8A8, rounded to nearest", "I8", _rounded("W8A8"), slow=False),
    Method("w4a8", "int4 weights, int8 activations, rounded to nearest", "I8", _rounded("W4A8"), slow=False),
    Method("fp8", "fp8 W8A8, activations scaled as they come", "F8_E4M3", _rounded("FP8_DYNAMIC"), slow=False),
    Method("w8a16", "int8 weights only, rounded to nearest", "I32", _rounded("W8A16"), slow=False),
    Method(
        "int8-gptq",
        "int8 W8A8, SmoothQuant and GPTQ",
        "I8",
        (("SmoothQuantModifier", {"smoothing_strength": 0.8}), ("GPTQModifier", {**LINEAR, "scheme": "W8A8"})),
        samples=64,
    ),
    Method("gptq", "int4 W4A16, GPTQ", "I32", (("GPTQModifier", {**LINEAR, "scheme": "W4A16"}),), samples=64),
    Method(
        "awq",
        "int4 W4A16 with zero points, AWQ",
        "I32",
        (("AWQModifier", {}), ("QuantizationModifier", {**LINEAR, "scheme": "W4A16_ASYM"})),
        samples=16,
    ),
    Method(
        "sparse",
        "2:4 sparse, SparseGPT",
        "2:4",
        (("SparseGPTModifier", SPARSE),),
        samples=64,
    ),
    Method(
        "sparse-wanda",
        "2:4 sparse, Wanda",
        "2:4",
        (("WandaPruningModifier", SPARSE),),
        samples=64,
    ),
    Method("gptq-format", "int4 W4A16 in AutoGPTQ's format, rounded to nearest", "I32", auto_round="auto_gptq"),
    Method("awq-format", "int4 W4A16 in AutoAWQ's format, rounded to nearest", "I32", auto_round="auto_awq"),
)


def by_name(name: str) -> Method:
    """Return a method.

    Raises:
        ValueError: there is none of that name; the message lists all.
    """
    for method in METHODS:
        if method.name == name:
            return method
    raise ValueError(f"no method {name!r}: there are {', '.join(each.name for each in METHODS)}")
