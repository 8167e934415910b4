"""Writes the files of a volume all at once, and again when they change, as Kubernetes does.

    volume/key     ->  ..data/key         what containers open
    volume/..data  ->  ..x7f3             the newest files; this link is replaced in one step
    volume/..x7f3/key

A reader sees the old files or the new ones, never some of each; one that watches the folder sees `..data` change.
"""

import os
import shutil
import tempfile
from pathlib import Path

from manta_operator.box.kubelet.projections import Files, VolumeError

_DATA = "..data"
_NEXT = "..data_tmp"


def write_files(files: Files, folder: Path) -> None:
    """Make `folder` hold exactly these files; nothing is written where it does.

    Raises:
        VolumeError: A path leads out of the folder.
        OSError: The file system refuses.
    """
    for path in files:
        if path.startswith(("/", "..")) or ".." in Path(path).parts:
            raise VolumeError(f"path {path!r} leads out of the volume")
    folder.mkdir(parents=True, exist_ok=True)
    before = folder / _DATA
    old = before.resolve() if before.is_symlink() else None
    if old is not None and _read(old) == {path: (file.data, file.mode) for path, file in files.items()}:
        return
    new = Path(tempfile.mkdtemp(prefix="..", dir=folder))
    _fill(new, files)
    (folder / _NEXT).unlink(missing_ok=True)
    (folder / _NEXT).symlink_to(new.name)
    os.replace(folder / _NEXT, before)  # noqa: PTH105 - of a link, not of what it points to
    _link(folder, {Path(path).parts[0] for path in files})
    if old is not None:
        shutil.rmtree(old, ignore_errors=True)


def _read(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {
        str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mode & 0o7777)
        for path in folder.rglob("*")
        if path.is_file()
    }


def _fill(folder: Path, files: Files) -> None:
    for path, file in files.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.touch(mode=0o600)
        target.write_bytes(file.data)
        target.chmod(file.mode)


def _link(folder: Path, names: set[str]) -> None:
    """Make what containers open: a link for every name, and none for what is gone."""
    there = {path.name for path in folder.iterdir() if not path.name.startswith("..")}
    for name in names - there:
        (folder / name).symlink_to(Path(_DATA) / name)
    for name in there - names:
        (folder / name).unlink()
