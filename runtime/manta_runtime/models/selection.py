"""Which files of a repository an engine needs: pure, between listing and download.

Weights are taken in one format only, the best there is; what is neither weights nor documentation is kept, because
tokenizers, templates and remote code have no fixed names.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from manta_runtime.models.failure import PermanentError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from manta_runtime.models.files import RemoteFile

_FORMATS = ((".safetensors",), (".bin",), (".pt", ".pth"), (".gguf",))
_OTHER_ENGINES = (
    ".onnx", ".onnx_data", ".msgpack", ".h5", ".hdf5", ".ot", ".tflite", ".mlmodel", ".mlpackage", ".nemo", ".ckpt",
    ".pb", ".tar", ".tar.gz", ".tgz", ".zip", ".7z",
)  # fmt: skip
_DOCUMENTS = (
    ".md",
    ".png",
    ".jpg",
    ".jpeg",
    ".gif",
    ".svg",
    ".webp",
    ".pdf",
    ".mp4",
    ".wav",
    ".mp3",
    ".ipynb",
    ".html",
)
_TRAINING = re.compile(
    r"(^|/)(training_args\.bin|optimizer\.\w+|scheduler\.\w+|rng_state\w*\.\w+|trainer_state\.json)$"
)
_FOREIGN_FOLDERS = re.compile(r"^(onnx|openvino|coreml|tensorrt|runs|checkpoint-\d+|\.[^/.][^/]*)/")
_SECOND_COPY = re.compile(r"(^|/)(consolidated[^/]*|original/.*)$")
_SPLIT = re.compile(r"-\d{5}-of-\d{5}(?=\.gguf$)", re.IGNORECASE)
_CONFIGS = ("config.json", "adapter_config.json", "params.json")


def select(files: Sequence[RemoteFile], where: str) -> tuple[RemoteFile, ...]:
    """Return the files to fetch, in the order of their paths; `where` is named in errors.

    Raises PermanentError when there is no configuration, or not one model's weights.
    """
    useful = [file for file in files if not _is_useless(file.path)]
    first = [file for file in useful if not _SECOND_COPY.search(file.path)]
    weights = _best(first) or _best(useful)
    chosen = {file.path for file in weights}
    others = [file for file in first if not _is_weight(file.path)]
    if any(_SECOND_COPY.search(path) for path in chosen):
        others = [file for file in useful if not _is_weight(file.path)]
    others = [file for file in others if _index_fits(file.path, chosen)]
    _check(others, weights, files, where)
    return tuple(sorted([*weights, *others], key=lambda file: file.path))


def _is_useless(path: str) -> bool:
    lower = path.lower()
    return bool(
        lower.endswith((*_OTHER_ENGINES, *_DOCUMENTS))
        or path.rpartition("/")[2].startswith(".")
        or _TRAINING.search(lower)
        or _FOREIGN_FOLDERS.search(lower)
    )


def _is_weight(path: str) -> bool:
    return path.lower().endswith(tuple(suffix for suffixes in _FORMATS for suffix in suffixes))


def _best(files: Iterable[RemoteFile]) -> list[RemoteFile]:
    listed = list(files)
    for suffixes in _FORMATS:
        if found := [file for file in listed if file.path.lower().endswith(suffixes)]:
            return found
    return []


def _index_fits(path: str, chosen: set[str]) -> bool:
    """An index such as pytorch_model.bin.index.json goes with its format only: the engine would look for its files."""
    if not path.endswith(".index.json"):
        return True
    suffix = "." + path.removesuffix(".index.json").rpartition(".")[2]
    return any(weight.endswith(suffix) for weight in chosen)


def _check(others: list[RemoteFile], weights: list[RemoteFile], files: Sequence[RemoteFile], where: str) -> None:
    names = ", ".join(sorted(file.path for file in files)[:8])
    if not any(file.path in _CONFIGS for file in others):
        raise PermanentError(
            f"{where} has no config.json (nor adapter_config.json) at its top: is spec.model.uri the model's own "
            f"folder? There are {len(files)} files: {names} …"
        )
    if len({_SPLIT.sub("", file.path) for file in weights if file.path.lower().endswith(".gguf")}) > 1:
        raise PermanentError(
            f"{where} has several GGUF models, of which an engine serves one: put that one and its config.json into a "
            f"bucket or a repository of its own. There are {len(files)} files: {names} …"
        )
    if not weights:
        raise PermanentError(
            f"{where} has no weights that the engine reads (.safetensors, .bin, .pt, .pth, .gguf). "
            f"There are {len(files)} files: {names} …"
        )
