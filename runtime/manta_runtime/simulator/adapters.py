"""POST /v1/load_lora_adapter and /v1/unload_lora_adapter, with vLLM 0.32's answers (compared in tests/e2e).

No weights are read, but what vLLM refuses for its form is refused here: no files, too high a rank, no safetensors.
server.py calls it with the settings, whose `adapters` are those that can be asked for.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from manta_runtime.simulator.forms import Refused, boolean, missing, text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from manta_runtime.simulator.settings import Settings

_HEADER = 8
_LARGEST_HEADER = 100_000_000


def load_adapter(body: Mapping[str, Any], settings: Settings) -> tuple[Settings, str]:
    """Return the settings with one more adapter, and vLLM's words. Raises Refused."""
    name, path = (_field(body, field) for field in ("lora_name", "lora_path"))
    inplace = boolean(body.get("load_inplace", False), "body.load_inplace")
    if not name or not path:
        raise _wrong("Both 'lora_name' and 'lora_path' must be provided.")
    if name in settings.served_names:
        raise _wrong(f"The lora adapter '{name}' conflicts with a served base model.")
    if name in dict(settings.adapters) and not inplace:
        more = "If you want to load the adapter in place, set 'load_inplace' to True."
        raise _wrong(f"The lora adapter '{name}' has already been loaded. {more}")
    _check_files(name, Path(path), settings.max_lora_rank)
    adapters = tuple((dict(settings.adapters) | {name: path}).items())
    return replace(settings, adapters=adapters), f"Success: LoRA adapter '{name}' added successfully."


def unload_adapter(body: Mapping[str, Any], settings: Settings) -> tuple[Settings, str]:
    """Return the settings without an adapter, and vLLM's words. Raises Refused."""
    name = _field(body, "lora_name")
    if not name:
        raise _wrong("'lora_name' needs to be provided to unload a LoRA adapter.")
    if name not in dict(settings.adapters):
        raise Refused(404, f"The lora adapter '{name}' cannot be found.", "NotFoundError", None)
    adapters = tuple(adapter for adapter in settings.adapters if adapter[0] != name)
    return replace(settings, adapters=adapters), f"Success: LoRA adapter '{name}' removed successfully."


def _field(body: Mapping[str, Any], field: str) -> str:
    if field not in body:
        raise missing(body, field)
    return text(body[field], f"body.{field}")


def _wrong(message: str) -> Refused:
    return Refused(400, message, "InvalidUserInput", None)


def _failed(message: str) -> Refused:
    return Refused(500, f"Call to add_lora method failed: {message}", "InternalServerError", None)


def _check_files(name: str, path: Path, max_rank: int) -> None:
    if not max_rank:
        raise _failed("LoRA is not enabled. Use --enable-lora to enable LoRA.")
    try:
        config = json.loads((path / "adapter_config.json").read_text(encoding="utf-8"))
        rank = int(config["r"])
    except OSError as error:
        # vLLM takes paths out of what it tells its clients.
        gone = f"Loading lora {name} failed: No adapter found for <path>"
        raise Refused(404, gone, "NotFoundError", None) from error
    except (ValueError, TypeError, KeyError) as error:
        raise _failed(str(error)) from error
    if rank > max_rank:
        raise _failed(f"LoRA rank {rank} is greater than max_lora_rank {max_rank}.")
    weights = path / "adapter_model.safetensors"
    if weights.is_file():
        _check_weights(weights)
    elif not (path / "adapter_model.bin").is_file():
        raise _failed("<path> doesn't contain tensors")


def _check_weights(path: Path) -> None:
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(_HEADER), "little")
        if size < _HEADER:
            raise _failed("Error while deserializing header: header too small")
        if length > min(_LARGEST_HEADER, size - _HEADER):
            raise _failed("Error while deserializing header: header too large")
        try:
            json.loads(file.read(length))
        except ValueError as error:
            raise _failed("Error while deserializing header: invalid JSON in header") from error
