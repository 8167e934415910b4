"""What the cache's file system says, in words that tell what to do: room before the start, errors while writing.

Called by fetch.py before the download and around everything that writes.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from manta_runtime.models.failure import FetchError, PermanentError

if TYPE_CHECKING:
    from pathlib import Path

_SPARE = 16 * 1024 * 1024  # lists, folders, the file system's own blocks


def check_room(folder: Path, missing: int) -> None:
    """Compare the free space of the file system with the `missing` bytes.

    Raises PermanentError when it is too little; a quota shows only while writing (`explain`).
    """
    status = os.statvfs(folder)
    free = status.f_bavail * status.f_frsize
    if missing and free < missing + _SPARE:
        raise PermanentError(
            f"the cache at {folder} has {gigabytes(free)} free, {gigabytes(missing + _SPARE)} are missing: give "
            "spec.model.cache a larger volume, or remove models from it that nobody uses"
        )


def explain(error: OSError, folder: Path) -> FetchError:
    """Return what a failed write or read in the cache means; nothing that was fetched is removed."""
    what = f"{error.strerror or error} ({error.filename or folder})"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return PermanentError(
            f"the cache at {folder} is full: {what}. Give spec.model.cache a larger volume or quota, or remove models "
            "from it that nobody uses; the next start goes on from here"
        )
    if error.errno == errno.EROFS:
        return PermanentError(f"the cache at {folder} is read-only: {what}. Mount spec.model.cache writable")
    if error.errno in (errno.EACCES, errno.EPERM):
        return PermanentError(
            f"the cache at {folder} may not be written by user {os.getuid()}: {what}. Give the volume of "
            "spec.model.cache to that user, or set fsGroup in spec.podTemplate"
        )
    return FetchError(f"the cache at {folder} failed: {what}. See the node's log and the volume of spec.model.cache")


def gigabytes(count: float) -> str:
    """Return a number of bytes for people: 1.5 GB."""
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count:.0f} B"
