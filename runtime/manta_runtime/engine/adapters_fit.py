"""Was an adapter made for this model? Its layers' shapes against the model's, from the headers of safetensors files.

vLLM 0.32 does not ask: it copies what is smaller into a part of its room, cuts off what tensor parallelism leaves over,
and skips layers that the model lacks (lora/layers/base_linear.py, lora/model_manager.py). Such an adapter loads and
answers nonsense. adapters_keeper.py asks here first; what cannot be told from names and shapes is left to vLLM.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_LARGEST_HEADER = 100_000_000  # the format's own limit
_LARGEST_OF_ADAPTER = 16_000_000
"""Some 100,000 tensors, as of one for each expert of a large model. While JSON is read nobody else runs: the launcher
must not stand still."""
_WHOLE = ("F64", "F32", "F16", "BF16", "I8", "F8_E4M3", "F8_E5M2")
"""Types of one value an element: others are packed, and their shapes are not the layer's."""
_PART = re.compile(r"(?:base_model\.model\.)?(?P<layer>.+)\.lora_(?P<part>[AB])(?:\.default)?\.weight")
_NUMBER = re.compile(r"\.\d+\.")


class _Tensor(msgspec.Struct):
    """What a header says of a tensor, or of something else under its own key."""

    dtype: Any = None
    shape: Any = None


_DECODER = msgspec.json.Decoder(dict[str, _Tensor])
"""Several times as fast as the json module: it makes no objects of what is not asked for."""

Shapes = dict[str, tuple[int, ...] | None]
"""Of tensors, by name; None for one whose shape says nothing of its layer."""


def misfit(adapter: Path, model: Path) -> str:
    """Return why an adapter's folder does not fit a model's, "" if it does or if that cannot be told."""
    weights = adapter / "adapter_model.safetensors"
    length = _header_bytes(weights)
    if _LARGEST_OF_ADAPTER < length <= _LARGEST_HEADER:
        return (
            f"{weights} has a header of {length / 1e6:.0f} MB, more than {_LARGEST_OF_ADAPTER / 1e6:.0f} MB: that is "
            "no LoRA adapter's, check what was saved"
        )
    return judge_fit(_shapes((weights,)), _shapes(sorted(model.glob("*.safetensors"))))


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
            if isinstance(entry.shape, list):
                found[name] = tuple(entry.shape) if entry.dtype in _WHOLE else None
    return found


def _header_bytes(path: Path) -> int:
    try:
        with path.open("rb") as file:
            return int.from_bytes(file.read(8), "little")
    except OSError:
        return 0


def _header(path: Path) -> dict[str, _Tensor]:
    """Return the header of a file, empty where there is none to be read: vLLM has the words for that."""
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            return _DECODER.decode(file.read(length)) if length <= _LARGEST_HEADER else {}
    except (OSError, ValueError, RecursionError):
        return {}
