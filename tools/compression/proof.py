"""Is a checkpoint what its method says? Looked up in its tensors: a modifier that matches no layer changes nothing.

llm-compressor does not complain of that, and the model answers as well as before: perplexity alone would call it a
success.
"""

import json
import re
import struct
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

SPARSE = "2:4"
_LAYER = re.compile(r"\.layers\.\d+\..*_proj\.(?:weight|weight_packed|qweight)$")


class NotDone(Exception):
    """The checkpoint is not what its method was to make of it."""


def prove(folder: Path, stored: str) -> None:
    """Look at every linear layer of the checkpoint.

    Args:
        folder: The checkpoint.
        stored: The type of safetensors that its weights are stored as, or `2:4`: at least two zeros in every four.

    Raises:
        NotDone: a layer is otherwise, or there are none.
    """
    layers = {name: entry for path in folder.glob("*.safetensors") for name, entry in _layers(path).items()}
    if stored == SPARSE:
        wrong = [name for path in folder.glob("*.safetensors") for name in _dense(path)]
    else:
        wrong = [f"{name} is {entry['dtype']}" for name, entry in sorted(layers.items()) if entry["dtype"] != stored]
    if wrong or not layers:
        found = f"{len(wrong)} of {len(layers)} layers are not, as {wrong[0]}" if wrong else "no layer was found"
        raise NotDone(f"{folder}: all linear layers should be {stored}, but {found}")


def _layers(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
    return {name: entry for name, entry in header.items() if _LAYER.search(name)}


def _dense(path: Path) -> list[str]:
    with safe_open(path, framework="pt") as tensors:
        return [
            name
            for name in sorted(_layers(path))
            if not bool(torch.all((tensors.get_tensor(name) == 0).reshape(-1, 4).sum(1) >= 2))
        ]
