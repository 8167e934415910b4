"""Hashes of fetched files, and what a safetensors file says of its own size: the judges of every file.

Called by verify.py. Reads from the page cache as a rule: a file is judged right after its last byte was written.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

import google_crc32c

from manta_runtime.models.failure import StoppedError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from threading import Event

_BLOCK = 4 * 1024 * 1024
_MIB = 1024 * 1024
_PART_SIZES = tuple(size * _MIB for size in (5, 6, 8, 10, 15, 16, 20, 25, 32, 50, 64, 100, 128, 200, 256, 512, 1024))
_LARGEST_HEADER = 100_000_000  # the format's own limit


def digest_of(path: Path, kind: str, stop: Event) -> str:
    """Return the hash of a file in hex for the kinds `sha256`, `git-sha1`, `md5` and `crc32c`.

    Raises StoppedError when `stop` is set meanwhile, OSError when the file cannot be read.
    """
    if kind == "crc32c":
        checksum = 0
        for block in _blocks(path, stop):
            checksum = google_crc32c.extend(checksum, block)
        return f"{checksum:08x}"
    # Not for security: these are the names under which the stores know the content.
    name = {"sha256": "sha256", "git-sha1": "sha1", "md5": "md5"}[kind]
    hasher = hashlib.new(name, usedforsecurity=False)
    if kind == "git-sha1":
        hasher.update(b"blob %d\0" % path.stat().st_size)
    for block in _blocks(path, stop):
        hasher.update(block)
    return hasher.hexdigest()


def is_multipart_etag(path: Path, digest: str, stop: Event) -> bool:
    """Return whether an ETag `<md5 of the parts' md5s>-<parts>` is this file's, for the usual sizes of parts.

    False tells nothing: the part size of an upload is its client's choice.
    """
    count = int(digest.rpartition("-")[2])
    size = path.stat().st_size
    return any(-(-size // part) == count and _multipart(path, part, stop) == digest for part in _PART_SIZES)


def _multipart(path: Path, part: int, stop: Event) -> str:
    whole = hashlib.md5(usedforsecurity=False)
    current, filled, count = hashlib.md5(usedforsecurity=False), 0, 0
    for block in _blocks(path, stop, _MIB):
        current.update(block)
        filled += len(block)
        if filled == part:
            whole.update(current.digest())
            current, filled, count = hashlib.md5(usedforsecurity=False), 0, count + 1
    if filled:
        whole.update(current.digest())
        count += 1
    return f"{whole.hexdigest()}-{count}"


def safetensors_fault(path: Path) -> str:
    """Return what is wrong with a safetensors file's header, "" when it agrees with the file's size."""
    size = path.stat().st_size
    with path.open("rb") as handle:
        length = int.from_bytes(handle.read(8), "little")
        if size < 8 or not 2 <= length <= min(_LARGEST_HEADER, size - 8):
            return f"its header cannot be {length} bytes in a file of {size}"
        try:
            header = json.loads(handle.read(length))
            ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
            end = max(ends, default=0)
        except (ValueError, KeyError, TypeError, AttributeError, IndexError):
            return "its header is no safetensors header"
    if end != size - 8 - length:
        return f"its header tells of {end} bytes of tensors, the file has {size - 8 - length}"
    return ""


def _blocks(path: Path, stop: Event, size: int = _BLOCK) -> Iterator[bytes]:
    with path.open("rb") as handle:
        while block := handle.read(size):
            if stop.is_set():
                raise StoppedError("stopped while verifying")
            yield block
