"""Notices when mounted files change, once a second, for keys and tenants.

Kubernetes replaces the content of a mounted Secret or ConfigMap in one step, by pointing the symbolic link `..data` to
another folder; a watch on the files themselves (inotify) would follow the old ones. Looking costs a few system calls.
"""

import asyncio
import os
from collections.abc import Callable, Iterable
from pathlib import Path

PERIOD_SECONDS = 1.0
Stamp = tuple[object, ...]
"""Changes when what is at a path changes; () where nothing is."""


def stamp(path: Path) -> Stamp:
    """What tells one state of a file, or of a folder with its files, from another. Never raises."""
    try:
        if not path.is_dir():
            return _file(path)
        if (path / "..data").is_symlink():
            return (str((path / "..data").readlink()), *_file(path / "..data"))
        return tuple((name, *_file(path / name)) for name in sorted(os.listdir(path)))  # noqa: PTH208 - names alone
    except OSError as error:
        return () if isinstance(error, FileNotFoundError) else (error.errno,)


def _file(path: Path) -> Stamp:
    found = path.stat()
    return (found.st_ino, found.st_mtime_ns, found.st_size)


async def follow(refreshes: Iterable[Callable[[], object]]) -> None:
    """Call each once a second, for ever, in a thread: a large file must not hold up requests. They must not raise."""
    every = tuple(refreshes)
    while True:
        for refresh in every:
            await asyncio.to_thread(refresh)
        await asyncio.sleep(PERIOD_SECONDS)
