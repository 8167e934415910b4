"""What a source offers: files with their size and the hash that the source knows.

hub.py and buckets.py make these, selection.py chooses among them, download.py fetches them, manifest.py keeps them.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

HashKind = Literal["sha256", "git-sha1", "md5", "md5-parts", "crc32c", "size"]
"""`md5-parts`: the ETag of an S3 multipart upload; `size`: the source tells no hash."""


@dataclass(frozen=True)
class RemoteFile:
    """One file: `path` relative, with `/`; `size` in bytes; `digest` in hex ("" for `size`); the store's `etag`."""

    path: str
    size: int
    kind: HashKind = "size"
    digest: str = ""
    etag: str = ""

    @property
    def key(self) -> str:
        """Name of what is kept of this very content: another size, hash or ETag has another key."""
        text = "\0".join((self.path, str(self.size), self.kind, self.digest, self.etag))
        return hashlib.sha256(text.encode()).hexdigest()[:32]


@dataclass(frozen=True)
class Listing:
    """All files of a source at one point: `resolved` is the commit of a hub, "" for a bucket."""

    resolved: str
    files: tuple[RemoteFile, ...]


class Source(Protocol):
    """What the download needs of a hub or a bucket; its errors are those of failure.py."""

    def listing(self) -> Listing:
        """Return all files, resolved to one point where the source has such a thing."""

    def pin(self, resolved: str) -> None:
        """List this commit from now on, whatever the revision is by now; a bucket has none."""

    def read(self, file: RemoteFile, start: int, end: int) -> Iterator[bytes]:
        """Yield the bytes from `start` up to but not including `end`, in blocks."""

    def is_hash_of_content(self, file: RemoteFile) -> bool:
        """Return False when the store says that this file's ETag is no hash of what one reads (encryption)."""
