"""A file on its way: its bytes at their places, and beside them one byte for each chunk that is safely on the disk.

download.py writes chunks in any order from several threads; after kill -9 the next fetch reads what is left to do.
A chunk is marked after fdatasync only, so that the marks never promise what a crash of the node has taken.
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_FLAGS = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW


class Part:
    """The part file `<key>.part` of `size` bytes in chunks of `chunk` bytes, and its marks in `<key>.map`."""

    def __init__(self, folder: Path, key: str, size: int, chunk: int) -> None:
        self.path = folder / f"{key}.part"
        # The size of a chunk is in the name: marks made with another one are not these.
        self.marks = folder / f"{key}.{chunk}.map"
        self.size = size
        self._chunk = chunk
        self._lock = threading.Lock()
        self._data = os.open(self.path, _FLAGS, 0o644)
        self._map = os.open(self.marks, _FLAGS, 0o644)
        whole = os.fstat(self._data).st_size == size
        count = -(-size // chunk)
        known = os.pread(self._map, count, 0).ljust(count, b"\0") if whole else bytes(count)
        if not whole:
            os.ftruncate(self._map, 0)
            os.ftruncate(self._data, size)
        self._done = bytearray(known)

    def missing(self) -> list[tuple[int, int, int]]:
        """Return (number, start, end) of the chunks that are still to be fetched."""
        return [
            (number, number * self._chunk, min(self.size, (number + 1) * self._chunk))
            for number, done in enumerate(self._done)
            if not done
        ]

    @property
    def have(self) -> int:
        """The bytes that are there."""
        return self.size - sum(end - start for _, start, end in self.missing())

    def write(self, offset: int, block: bytes) -> None:
        """Put bytes at their place."""
        view = memoryview(block)
        while view:
            written = os.pwrite(self._data, view, offset)
            view, offset = view[written:], offset + written

    def finish(self, number: int) -> bool:
        """Mark a chunk as there, after it is on the disk; returns True for the last one."""
        os.fdatasync(self._data)
        with self._lock:
            self._done[number] = 1
            os.pwrite(self._map, b"\1", number)
            return all(self._done)

    def clear(self) -> None:
        """Forget all chunks: their content was wrong."""
        with self._lock:
            os.ftruncate(self._map, 0)
            self._done = bytearray(len(self._done))

    def close(self) -> None:
        """Close both files; they stay."""
        for handle in (self._data, self._map):
            os.close(handle)
