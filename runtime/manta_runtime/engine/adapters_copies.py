"""What this rank has of every wanted adapter: looked up in its files every few seconds, and told to the head.

Used by adapters_keeper.py (the head's own) and worker.py. A path counts when it is complete: for a fetched adapter the
list that the fetch leaves, for a mounted one its configuration and its weights.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from manta_runtime.engine.adapters import Copy
from manta_runtime.engine.model_revision import revision_of
from manta_runtime.models.adapters_list import AdapterList, ListFile, WantedAdapter
from manta_runtime.models.adapters_told import Told, read_told, told_file
from manta_runtime.models.manifest import is_complete

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from manta_runtime.engine.settings import EngineSettings

log = logging.getLogger("manta.engine")

LOOK_SECONDS = 2.0
_BLOCK = 4 * 1024 * 1024
_CONFIG = "adapter_config.json"
_WEIGHTS = ("adapter_model.safetensors", "adapter_model.bin", "adapter_model.pt")


class Copies:
    """The adapters that are wanted, and what this rank has of each (`found`, by key); both as of the last look."""

    def __init__(self, settings: EngineSettings) -> None:
        self.wanted = AdapterList()
        self.found: Mapping[str, Copy] = {}
        self._file = ListFile(settings.adapters, settings.mounts) if settings.adapters else None
        self._told = settings.state_folder / "adapters" if settings.state_folder else None

    @property
    def asked_for(self) -> bool:
        """Whether this pod was told of a list at all."""
        return self._file is not None

    async def look(self) -> None:
        """Read the list and the files again. Raises nothing."""
        if self._file is None:
            return
        try:
            self.wanted, self.found = await asyncio.to_thread(self._look, self._file)
        except OSError as error:
            log.warning("the adapters of this pod cannot be looked up: %s", error)

    async def keep_looking(self) -> None:
        """Look every 2 s until cancelled."""
        while self._file:
            await self.look()
            await asyncio.sleep(LOOK_SECONDS)

    def _look(self, file: ListFile) -> tuple[AdapterList, dict[str, Copy]]:
        wanted = file.look()
        return wanted, {adapter.key: self._copy(adapter) for adapter in wanted.adapters}

    def _copy(self, adapter: WantedAdapter) -> Copy:
        before = self.found.get(adapter.key)
        if before and before.state == "has":
            return before
        if not adapter.fetch:
            return _wrong(adapter.path) or _read(adapter.path, "")
        if is_complete(adapter.path, adapter.uri.rstrip("/"), adapter.revision):
            return _read(adapter.path, revision_of(adapter.path))
        told = read_told(told_file(self._told, adapter.key)) if self._told else None
        return _fetched(told)


def _fetched(told: Told | None) -> Copy:
    if told is None:
        return Copy("missing")
    if told.state == "failed":
        return Copy("failed", message=told.message)
    return Copy("fetching", message=told.message, bytes=told.bytes, total=told.total)


def _wrong(path: Path) -> Copy | None:
    """Return what is wrong with a mounted folder, None when it is an adapter's."""
    if not path.is_dir():
        return Copy("failed", message=f"there is no folder {path} in this pod: check the adapter's uri and its volume")
    if not (path / _CONFIG).is_file():
        return Copy("failed", message=f"{path} has no {_CONFIG}, so it is no LoRA adapter: check the adapter's uri")
    if not any((path / name).is_file() for name in _WEIGHTS):
        return Copy("failed", message=f"{path} has no weights: none of {', '.join(_WEIGHTS)}")
    return None


def _read(path: Path, revision: str) -> Copy:
    """Read the files once, so that vLLM, which reads them between two steps of its engine, finds them in memory.

    From a slow volume that would hold up everybody's answers; and a volume that fails shows here.
    """
    try:
        for name in _WEIGHTS:
            if (path / name).is_file():
                with (path / name).open("rb", buffering=0) as file:
                    while file.read(_BLOCK):
                        pass
    except OSError as error:
        return Copy("failed", message=f"{path} cannot be read: {error.strerror or error}")
    return Copy("has", revision)
