"""What this rank has of every wanted adapter: looked up in its files every few seconds, and told to the head.

Used by adapters_keeper.py (the head's own) and worker.py. A path counts when it is complete: for a fetched adapter the
list that the fetch leaves, for a mounted one its configuration and its weights.
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from manta_runtime.engine.adapters import Copy
from manta_runtime.engine.daemon_threads import in_daemon_thread
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
_PATIENCE_SECONDS = 2.0
_BLOCK = 1024 * 1024  # for each adapter that is read
_CONFIG = "adapter_config.json"
_WEIGHTS = ("adapter_model.safetensors", "adapter_model.bin", "adapter_model.pt")


@dataclass(frozen=True)
class _Reading:
    task: asyncio.Task[Copy]
    since: float = field(default_factory=time.monotonic)


class Copies:
    """The adapters that are wanted, and what this rank has of each (`found`, by key); both as of the last look."""

    def __init__(self, settings: EngineSettings) -> None:
        self.wanted = AdapterList()
        self.found: Mapping[str, Copy] = {}
        self._reading: dict[str, _Reading] = {}
        self._file = ListFile(settings.adapters, settings.mounts) if settings.adapters else None
        self._told = settings.state_folder / "adapters" if settings.state_folder else None

    @property
    def asked_for(self) -> bool:
        """Whether this pod was told of a list at all."""
        return self._file is not None

    async def look(self) -> None:
        """Read the list and the files again; who is not done after 2 s is told so, and waited for by the next look."""
        if self._file is None:
            return
        self.wanted = await in_daemon_thread(self._file.look)
        wanted = {adapter.key: adapter for adapter in self.wanted.adapters}
        for key in self._reading.keys() - wanted.keys():
            self._reading.pop(key).task.cancel()
        for key, adapter in wanted.items():
            if key not in self._reading:
                self._reading[key] = _Reading(asyncio.create_task(self._read_one(adapter)))
        if self._reading:
            await asyncio.wait([reading.task for reading in self._reading.values()], timeout=_PATIENCE_SECONDS)
        self.found = {key: self._result(key, adapter) for key, adapter in wanted.items()}

    async def keep_looking(self) -> None:
        """Look every 2 s until cancelled."""
        while self._file:
            try:
                await self.look()
            except Exception:
                log.exception("a bug of the look at adapters; this rank goes on")
            await asyncio.sleep(LOOK_SECONDS)

    def _result(self, key: str, adapter: WantedAdapter) -> Copy:
        reading = self._reading[key]
        if reading.task.done():
            return self._reading.pop(key).task.result()
        seconds = time.monotonic() - reading.since
        words = f"{adapter.path} is being read, for {seconds:.0f} s: a volume that is slow, or does not answer"
        return Copy("fetching", message=words)

    async def _read_one(self, adapter: WantedAdapter) -> Copy:
        """Look at one adapter in a thread of its own: what its volume does is no matter of the others. Never raises."""
        before = self.found.get(adapter.key)
        try:
            return await in_daemon_thread(self._copy, adapter, before)
        except (OSError, ValueError) as error:
            return _unreadable(adapter.path, error)
        except Exception as error:
            log.exception("adapter %s: a bug, please report it", adapter.name)
            return Copy("failed", message=f"a bug of the launcher: {type(error).__name__}: {error}")

    def _copy(self, adapter: WantedAdapter, before: Copy | None) -> Copy:
        has = before is not None and before.state == "has"
        if not adapter.fetch:
            return before if before and has else _wrong(adapter.path) or _read(adapter.path, "")
        if is_complete(adapter.path, adapter.uri.rstrip("/"), adapter.revision):
            revision = revision_of(adapter.path)
            return before if before and has and before.revision == revision else _read(adapter.path, revision)
        # Also for one that was there: whoever empties the cache has it fetched again.
        told = read_told(told_file(self._told, adapter.key)) if self._told else None
        return _fetched(told)


def _unreadable(path: Path, error: OSError | ValueError) -> Copy:
    why = (error.strerror if isinstance(error, OSError) else "") or error
    return Copy("failed", message=f"{path} cannot be read: {why}: check the adapter's uri and its volume")


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
        return _unreadable(path, error)
    return Copy("has", revision)
