"""One download at a time for each folder: flock beside it, held by the process and given back by the kernel at its end.

The file stays: removing it would let two holders have a lock each. docs/weights.md says what holds on NFS.
"""

from __future__ import annotations

import errno
import fcntl
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from manta_runtime.models.failure import PermanentError, StoppedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from threading import Event

_LOOK_EVERY = 0.5  # seconds; a blocked flock() could not be left on SIGTERM, nor tell how far the holder is
_NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)


@contextmanager
def locked(path: Path, stop: Event, waiting: Callable[[], None]) -> Iterator[None]:
    """Hold the lock while the context is open; calls `waiting` about twice a second until then.

    Raises StoppedError when `stop` is set meanwhile, PermanentError when the file system has no locks, OSError.
    """
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
    try:
        while not _try(handle, path):
            waiting()
            if stop.wait(_LOOK_EVERY):
                raise StoppedError("stopped while waiting for the lock")
        yield
    finally:
        os.close(handle)


def _try(handle: int, path: Path) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno in _NO_LOCKS:
            raise PermanentError(
                f"the file system of the cache has no locks (flock of {path}: {error.strerror}): mount NFS with "
                "version 4 or with its lock service, or use another volume for spec.model.cache"
            ) from error
        raise
    return True
