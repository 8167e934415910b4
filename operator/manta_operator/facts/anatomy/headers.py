"""The tensors of a checkpoint, from the headers of its safetensors files: names, types and shapes. Reads a disk.

`models.read` calls it; the weights themselves are never read. `tensors` makes an anatomy of what is found.
"""

import json
import math
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_TENSOR_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}
_OTHER_BYTES = {"I64": 8, "I32": 4, "U32": 4, "I16": 2, "U16": 2}
_EXPERT_TENSORS = ".experts."
_HEADER_LIMIT = 100 * 2**20  # the safetensors format refuses longer headers

_DIMENSIONS = 16
_LARGEST = 2**53


class FactsError(ValueError):
    """A checkpoint is there but cannot be understood; the message says which file and what is wrong with it."""


@dataclass(frozen=True)
class Tensor:
    """One tensor of a file; `dtype` in the words of safetensors."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    size: int

    @property
    def numbers(self) -> int:
        """How many numbers it holds, as its type counts them."""
        return math.prod(self.shape)


def tensors(folder: Path) -> tuple[Tensor, ...]:
    """Return the tensors of the files that the engine loads; nothing where there are none.

    Raises:
        FactsError: a file is not what it should be.
    """
    return tuple(tensor for path in _files(folder) for tensor in _read(path))


def sums(found: Iterable[Tensor]) -> tuple[int | None, int | None, float]:
    """Return the bytes, the parameters (None: some are quantized) and which share of the bytes experts are."""
    every = tuple(found)
    if not every:
        return None, None, 0.0
    total = sum(tensor.size for tensor in every)
    experts = sum(tensor.size for tensor in every if _EXPERT_TENSORS in tensor.name)
    plain = all(tensor.dtype in _TENSOR_BYTES for tensor in every)
    counted = sum(tensor.size // _TENSOR_BYTES[tensor.dtype] for tensor in every) if plain else None
    return total, counted, experts / total if total else 0.0


def _files(folder: Path) -> list[Path]:
    """Return the files of the index; without one all but Mistral's second copy of the same weights."""
    index = folder / "model.safetensors.index.json"
    try:
        names = set(json.loads(index.read_text("utf-8"))["weight_map"].values())
        return sorted(folder / name for name in names)
    except FileNotFoundError:
        files = sorted(folder.glob("*.safetensors"))
        return [path for path in files if not path.name.startswith("consolidated")] or files
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise FactsError(f"{index}: not a readable index of safetensors files: {error}") from error


def _read(path: Path) -> list[Tensor]:
    try:
        entries = {name: entry for name, entry in _header(path).items() if name != "__metadata__"}
        return [_tensor(name, entry) for name, entry in entries.items()]
    except FactsError:
        raise
    except (ArithmeticError, AttributeError, LookupError, OSError, struct.error, TypeError, ValueError) as error:
        raise FactsError(f"{path}: not a readable safetensors file: {error}") from error


def _tensor(name: str, entry: Any) -> Tensor:
    """Return one entry of a header; a shape that does not make its bytes is taken for a row of them."""
    start, end = entry["data_offsets"][:2]
    size, kind, shape = int(end - start), str(entry["dtype"]), tuple(int(length) for length in entry.get("shape") or ())
    if size < 0 or len(shape) > _DIMENSIONS or any(not 0 <= number <= _LARGEST for number in (size, *shape)):
        raise ValueError(f"{name[:80]} has a shape or a place that no tensor has")
    width = _TENSOR_BYTES.get(kind) or _OTHER_BYTES.get(kind, 1)
    return Tensor(name, kind, shape if math.prod(shape) * width == size else (size // width,), size)


def _header(path: Path) -> Any:
    """Read the header: eight bytes of length (little endian), then JSON."""
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        if length > _HEADER_LIMIT:
            raise FactsError(f"{path}: not a safetensors file (its header would be {length} bytes long)")
        text = file.read(length)
    if len(text) < length:
        raise FactsError(f"{path}: not a whole safetensors file: it ends within its header; copy it again")
    return json.loads(text)
