"""Was an adapter made for this model? Its layers' shapes against the model's, from the headers of safetensors files.

vLLM 0.32 does not ask: it copies what is smaller into a part of its room, cuts off what tensor parallelism leaves over,
and skips layers that the model lacks (lora/layers/base_linear.py, lora/model_manager.py). Such an adapter loads and
answers nonsense. adapters_keeper.py asks here first; what cannot be told from names and shapes is left to vLLM.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_LARGEST_HEADER = 100_000_000  # the format's own limit
_WHOLE = ("F64", "F32", "F16", "BF16", "I8", "F8_E4M3", "F8_E5M2")
"""Types of one value an element: others are packed, and their shapes are not the layer's."""
_PART = re.compile(r"(?:base_model\.model\.)?(?P<layer>.+)\.lora_(?P<part>[AB])(?:\.default)?\.weight")
_NUMBER = re.compile(r"\.\d+\.")

Shapes = dict[str, tuple[int, ...] | None]
"""Of tensors, by name; None for one whose shape says nothing of its layer."""


def misfit(adapter: Path, model: Path) -> str:
    """Return why an adapter's folder does not fit a model's, "" if it does or if that cannot be told."""
    return judge_fit(_shapes((adapter / "adapter_model.safetensors",)), _shapes(sorted(model.glob("*.safetensors"))))


def judge_fit(adapter: Shapes, model: Shapes) -> str:
    """Return what is wrong with the first layer of the adapter that the model has otherwise, or lacks; else "".

    A layer is lacking where the model has the same in other numbers only. Its weight is (outputs, inputs), or the other
    way round in some old models; A is (rank, inputs), B is (outputs, rank).
    """
    layers = {name.rpartition(".")[0] for name in model}
    alike = {_without_numbers(layer) for layer in layers}
    for name, shape in adapter.items():
        found = _PART.fullmatch(name)
        if not found or shape is None or len(shape) != 2:
            continue
        layer, weight = found["layer"], model.get(f"{found['layer']}.weight")
        if layer not in layers and _without_numbers(layer) in alike:
            return f"it has a layer {layer}, which the model has not: it was made for another model"
        inner = found["part"] == "A"
        ours, side = (shape[1], "inputs") if inner else (shape[0], "outputs")
        if weight and ours not in weight:
            theirs = weight[-1] if inner else weight[0]
            return f"its layer {layer} has {ours} {side}, the model's {theirs}: it was made for another model"
    return ""


def _without_numbers(layer: str) -> str:
    return _NUMBER.sub(".N.", layer)


def _shapes(paths: Iterable[Path]) -> Shapes:
    found: Shapes = {}
    for path in paths:
        for name, entry in _header(path).items():
            if isinstance(entry, dict) and isinstance(entry.get("shape"), list):
                found[name] = tuple(entry["shape"]) if entry.get("dtype") in _WHOLE else None
    return found


def _header(path: Path) -> dict[str, Any]:
    """Return the header of a file, empty where there is none to be read: vLLM has the words for that."""
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(length)) if length <= _LARGEST_HEADER else {}
    except (OSError, ValueError, RecursionError):
        return {}
    return header if isinstance(header, dict) else {}
