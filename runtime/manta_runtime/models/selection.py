"""Which files of a repository an engine needs: pure, between listing and download.

Each folder gives its weights in one format only, the best there is; what is neither weights nor documentation is kept,
because tokenizers, templates and remote code have no fixed names.
"""

from __future__ import annotations

import re
from collections import defaultdict
from typing import TYPE_CHECKING

from manta_runtime.models.failure import PermanentError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from manta_runtime.models.files import RemoteFile

_FORMATS = ((".safetensors",), (".bin",), (".pt", ".pth"), (".gguf",))
_WEIGHTS = tuple(suffix for suffixes in _FORMATS for suffix in suffixes)
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
_ORIGINAL = re.compile(r"((?:.*/)?)original/")
# Beside the model proper, code of a model reads small tensors of its own from .pt: colbert_linear.pt, voices, heads.
_MODEL_PT = re.compile(r"(((diffusion_)?pytorch_|adapter_)?model|consolidated)([-._].*)?\.pth?|.*-of-\d+\.pth?")
_SPLIT = re.compile(r"-\d{5}-of-\d{5}(?=\.gguf$)", re.IGNORECASE)
_CONFIGS = ("config.json", "adapter_config.json", "params.json")


def select(files: Sequence[RemoteFile], where: str) -> tuple[RemoteFile, ...]:
    """Return the files to fetch, in the order of their paths; `where` is named in errors.

    Raises PermanentError when there is no configuration, or not one model's weights.
    """
    useful = [file for file in files if not _is_useless(file.path)]
    full = {_folder(file.path) for file in useful if _is_weight(file.path)}
    useful = [file for file in useful if not ((found := _ORIGINAL.match(file.path)) and found[1] in full)]
    folders: defaultdict[str, list[RemoteFile]] = defaultdict(list)
    for file in useful:
        folders[_folder(file.path)].append(file)
    weights = [file for folder in folders.values() for file in _weights(folder)]
    if any(not _folder(file.path) and not _is_gguf(file) for file in weights):
        # Quantised copies in folders; an engine reads the weights at the top.
        weights = [file for file in weights if not _is_gguf(file)]
    chosen = {file.path for file in weights}
    others = [file for file in useful if not _is_weight(file.path) and _index_fits(file.path, chosen)]
    _check(others, weights, files, where)
    return tuple(sorted([*weights, *others], key=lambda file: file.path))


def check_adapter(files: Sequence[RemoteFile], where: str) -> None:
    """Refuse what is no adapter, before anything of it is fetched: it may be a whole model.

    Raises PermanentError.
    """
    if all(file.path != "adapter_config.json" for file in files):
        raise PermanentError(
            f"{where} has no adapter_config.json at its top, so it is no LoRA adapter: check the adapter's uri "
            "(a whole model belongs into spec.model.uri)"
        )


def _folder(path: str) -> str:
    return path[: path.rfind("/") + 1]


def _name(path: str) -> str:
    return path[path.rfind("/") + 1 :]


def _is_useless(path: str) -> bool:
    lower = path.lower()
    return bool(
        lower.endswith((*_OTHER_ENGINES, *_DOCUMENTS))
        or _name(path).startswith(".")
        or _TRAINING.search(lower)
        or _FOREIGN_FOLDERS.search(lower)
    )


def _is_weight(path: str) -> bool:
    return path.lower().endswith(_WEIGHTS)


def _is_gguf(file: RemoteFile) -> bool:
    return file.path.lower().endswith(".gguf")


def _is_consolidated(path: str) -> bool:
    return _name(path).startswith("consolidated")


def _is_extra(path: str) -> bool:
    return path.lower().endswith((".pt", ".pth")) and not _MODEL_PT.fullmatch(_name(path).lower())


def _weights(folder: list[RemoteFile]) -> list[RemoteFile]:
    """Return the weights to take of the files of one folder."""
    listed = [file for file in folder if _is_weight(file.path)]
    extras = [file for file in listed if _is_extra(file.path)]
    main = [file for file in listed if file not in extras]
    mistral = [file for file in main if _is_consolidated(file.path) and file.path.endswith(".safetensors")]
    if mistral and any(_name(file.path) == "params.json" for file in folder):
        # vLLM prefers Mistral's own layout where it is whole, and takes its tokenizer and configuration with it.
        return [*mistral, *extras]
    return [*(_best([file for file in main if not _is_consolidated(file.path)]) or _best(main)), *extras]


def _best(files: list[RemoteFile]) -> list[RemoteFile]:
    for suffixes in _FORMATS:
        if found := [file for file in files if file.path.lower().endswith(suffixes)]:
            return found
    return []


def _index_fits(path: str, chosen: set[str]) -> bool:
    """An index such as pytorch_model.bin.index.json goes with its weights only: the engine would look for its files."""
    if not path.endswith(".index.json"):
        return True
    suffix = "." + path.removesuffix(".index.json").rpartition(".")[2]
    return any(
        weight.endswith(suffix)
        and _folder(weight) == _folder(path)
        and _is_consolidated(weight) == _is_consolidated(path)
        for weight in chosen
    )


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
