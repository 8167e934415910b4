"""The folders of one fetch beside its target: `.KEY.partial/` with parts and the growing model, `.KEY.lock`.

The target appears by one rename of `.KEY.partial/model`. Used by fetch.py and download.py under the lock.
"""

from __future__ import annotations

import errno
import os
import shutil
from contextlib import suppress
from typing import TYPE_CHECKING

from manta_runtime.models.failure import FetchError, PermanentError
from manta_runtime.models.manifest import Manifest, damaged, parse_manifest, read_manifest
from manta_runtime.models.names import MANIFEST

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from manta_runtime.models.files import RemoteFile


class Staging:
    """Where the fetch into the folder `to` keeps what it has."""

    def __init__(self, to: Path, chunk: int) -> None:
        self.to = to
        self._chunk = chunk
        self.root = to.parent / f".{to.name}.partial"
        self.parts = self.root / "parts"
        self.model = self.root / "model"
        self.lock = to.parent / f".{to.name}.lock"
        self.progress = self.root / "progress.json"
        self._taken_back = self.root / "taken-back.json"

    def make(self) -> Manifest | None:
        """Make the folders; returns the list of a target that was taken back, at whose commit it is to be repaired.

        Raises OSError.
        """
        self.parts.mkdir(parents=True, exist_ok=True)
        self.model.mkdir(exist_ok=True)
        if manifest := read_manifest(self.model):
            self._take_apart(manifest)
        return parse_manifest(self._taken_back)

    def is_done(self, file: RemoteFile) -> bool:
        """Whether a file is verified and at its place in the model; finishes a move that was interrupted."""
        done, part, place = self._done(file), self.parts / f"{file.key}.part", self.model / file.path
        if not done.exists():
            return False
        if part.exists():
            self._place(part, place)
        if place.is_file() and not place.is_symlink() and place.stat().st_size == file.size:
            return True
        done.unlink()
        return False

    def keep(self, file: RemoteFile) -> None:
        """Move a verified and synced part to its place in the model."""
        # The mark first: after a crash between the two, is_done() goes on with the move.
        _write(self._done(file), b"")
        sync_folder(self.parts)
        self._place(self.parts / f"{file.key}.part", self.model / file.path)

    def forget_others(self, files: Iterable[RemoteFile]) -> None:
        """Remove from the staging folder what is not of these files: they changed at the source."""
        files = tuple(files)
        keys, wanted = {file.key for file in files}, {self.model / file.path for file in files}
        for path in self.parts.iterdir():
            if path.name.partition(".")[0] not in keys:
                path.unlink()
        for path in self.model.rglob("*"):
            if not path.is_dir() and path not in wanted:
                path.unlink()
        marked = {self.model / file.path for file in files if self._done(file).exists()}
        for path in wanted - marked:
            path.unlink(missing_ok=True)

    def take_back(self, manifest: Manifest) -> list[str]:
        """Make a damaged target the growing model again, so that nobody reads it; returns what is wrong with it.

        `make` has to follow; after a crash between the two, that of the next fetch does the same.
        """
        wrong = damaged(self.to, manifest)
        shutil.rmtree(self.root, ignore_errors=True)
        self.parts.mkdir(parents=True)
        self.to.rename(self.model)
        return wrong

    def _take_apart(self, manifest: Manifest) -> None:
        """Make parts of the files of a target that was taken back; its list goes last, so that a kill loses nothing."""
        wrong = damaged(self.model, manifest)
        for file in manifest.files:
            if file.path not in wrong and not self._done(file).exists():
                # As a complete part it is verified by its hash once more: it shared a disk with the damage.
                _write(self.parts / f"{file.key}.{self._chunk}.map", b"\1" * -(-file.size // self._chunk))
                (self.model / file.path).rename(self.parts / f"{file.key}.part")
        sync_folder(self.parts)
        (self.model / MANIFEST).rename(self._taken_back)

    def check_target(self, uri: str, revision: str) -> Manifest | None:
        """Return the list of a target that is there, None when nothing is in the way.

        Raises PermanentError when the folder is not the fetch's own, or of another model.
        """
        with suppress(FileNotFoundError):
            # NFS keeps for a while that a name is not there; opening its folder asks the server whether that holds.
            os.close(os.open(self.to.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
        manifest = read_manifest(self.to)
        if manifest is None:
            if self.to.is_symlink() or (self.to.exists() and (not self.to.is_dir() or any(self.to.iterdir()))):
                raise PermanentError(
                    f"{self.to} is there, but has no {MANIFEST}: it was not made by a fetch. Move it out of the cache"
                )
            return None
        if (manifest.uri, manifest.revision) != (uri, revision):
            raise PermanentError(
                f"{self.to} holds {manifest.uri} at {manifest.revision or 'its default revision'}, "
                f"not {uri} at {revision or 'its default revision'}: give each model a folder of its own"
            )
        return manifest

    def publish(self, manifest: Manifest) -> None:
        """Write the list, sync, let the target appear by one rename, then remove what is left over.

        A target that somebody else completed meanwhile (where locks do not reach) is left as it is. Who works in the
        staging folder at the same time may have removed the list before the rename: it is written again.
        Raises FetchError when a file is not at its place: somebody else works in the staging folder; or when the target
        is there and not complete.
        """
        if wrong := damaged(self.model, manifest):
            raise FetchError(f"{wrong[0]} vanished from {self.model}: do the locks of this file system work?")
        _write(self.model / MANIFEST, manifest.text().encode())
        for folder in {self.model, *(self.model / file.path for file in manifest.files)}:
            sync_folder(folder if folder == self.model else folder.parent)
        try:
            self.model.rename(self.to)  # over an empty folder, too
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                raise
        else:
            if read_manifest(self.to) is None:
                _write(self.to / MANIFEST, manifest.text().encode())
        self._check_published(manifest)
        sync_folder(self.to.parent)
        shutil.rmtree(self.root, ignore_errors=True)

    def _check_published(self, manifest: Manifest) -> None:
        found = self.check_target(manifest.uri, manifest.revision)
        if found is None or damaged(self.to, found):
            raise FetchError(f"{self.to} appeared meanwhile and is not complete: the next start repairs it")

    def _done(self, file: RemoteFile) -> Path:
        return self.parts / f"{file.key}.done"

    def _place(self, part: Path, place: Path) -> None:
        place.parent.mkdir(parents=True, exist_ok=True)
        part.rename(place)


def sync_folder(folder: Path) -> None:
    """Put the names in a folder on the disk; some network file systems cannot, and need not."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with suppress(OSError):
            os.fsync(handle)
    finally:
        os.close(handle)


def _write(path: Path, data: bytes) -> None:
    with path.open("wb") as handle:
        handle.write(data)
        handle.flush()
        os.fsync(handle.fileno())
