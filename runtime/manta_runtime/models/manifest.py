"""`.manta-model.json`, the list in every complete model: read first, so that a full cache needs no network.

Written last into the folder, before the one rename that makes the folder appear. Imports nothing that is slow.
"""

from __future__ import annotations

import json
import stat
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from manta_runtime.models.files import RemoteFile
from manta_runtime.models.names import MANIFEST

if TYPE_CHECKING:
    from pathlib import Path

_VERSION = 1


@dataclass(frozen=True)
class Manifest:
    """What a folder holds: where it came from, the commit (hub), every file with size, hash and ETag."""

    uri: str
    revision: str
    resolved: str
    files: tuple[RemoteFile, ...]

    def text(self) -> str:
        """Return the JSON that `read_manifest` reads."""
        return json.dumps({"version": _VERSION, **asdict(self)}, indent=1) + "\n"

    @property
    def total(self) -> int:
        """The size of all files in bytes."""
        return sum(file.size for file in self.files)


def read_manifest(folder: Path) -> Manifest | None:
    """Return the list of a folder, or None when there is none or it is not readable as one."""
    return parse_manifest(folder / MANIFEST)


def parse_manifest(path: Path) -> Manifest | None:
    """Return the list in a file, or None when there is none or it is not readable as one."""
    try:
        data: Any = json.loads(path.read_text(encoding="utf-8"))
        if data.pop("version") != _VERSION:
            return None
        if not all(isinstance(file["path"], str) and "\0" not in file["path"] for file in data["files"]):
            return None
        return Manifest(**{**data, "files": tuple(RemoteFile(**file) for file in data["files"])})
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None


def is_complete(folder: Path, uri: str, revision: str) -> bool:
    """Return whether the folder holds all of what a fetch of this source and revision has listed."""
    manifest = read_manifest(folder)
    return bool(manifest and (manifest.uri, manifest.revision) == (uri, revision) and not damaged(folder, manifest))


def damaged(folder: Path, manifest: Manifest) -> list[str]:
    """Return the files that are missing, no plain files, or not of the size that the list says."""
    return [file.path for file in manifest.files if not _is_whole(folder / file.path, file.size)]


def _is_whole(path: Path, size: int) -> bool:
    try:
        status = path.lstat()
    except OSError:
        return False
    return stat.S_ISREG(status.st_mode) and status.st_size == size
