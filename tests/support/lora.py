"""LoRA adapters for the tiny model, made here: random but not zero weights, so that its answers change."""

import json
import random
import struct
from pathlib import Path

from running import MODELS

_A, _B = "lora_A.weight", "lora_B.weight"


def adapter_files(seed: int, rank: int = 8, *, wide: float = 1, strength: float = 0.5) -> dict[str, bytes]:
    """The files of an adapter of the attention's `q_proj` and `o_proj`.

    Args:
        seed: Another one makes another adapter.
        rank: Of its matrices.
        wide: How many times as wide as the model they are: 1 fits.
        strength: The largest weight.
    """
    config = json.loads((MODELS / "tiny" / "config.json").read_text())
    width = int(config["hidden_size"] * wide)
    chance = random.Random(seed)
    tensors: dict[str, tuple[list[int], bytes]] = {}
    for layer in range(config["num_hidden_layers"]):
        for module in ("q_proj", "o_proj"):
            name = f"base_model.model.model.layers.{layer}.self_attn.{module}"
            for part, shape in ((_A, [rank, width]), (_B, [width, rank])):
                count = shape[0] * shape[1]
                weights = struct.pack(f"<{count}f", *(chance.uniform(-strength, strength) for _ in range(count)))
                tensors[f"{name}.{part}"] = (shape, weights)
    about = {"peft_type": "LORA", "r": rank, "lora_alpha": 2 * rank, "target_modules": ["q_proj", "o_proj"]}
    return {
        "adapter_config.json": json.dumps(about | {"bias": "none", "base_model_name_or_path": "tiny"}).encode(),
        "adapter_model.safetensors": _safetensors(tensors),
    }


def write_adapter(folder: Path, files: dict[str, bytes]) -> Path:
    """Put the files of an adapter into a folder, and return it."""
    folder.mkdir(parents=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return folder


def _safetensors(tensors: dict[str, tuple[list[int], bytes]]) -> bytes:
    header, at = {}, 0
    for name, (shape, data) in tensors.items():
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [at, at + len(data)]}
        at += len(data)
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + b"".join(data for _, data in tensors.values())
