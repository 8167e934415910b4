"""Whether a fetched file is what the source has: hash, and for safetensors a header that agrees with the size.

Called by download.py after the last chunk of each file, on the thread that wrote it.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from manta_runtime.models.digests import digest_of, is_multipart_etag, safetensors_fault

if TYPE_CHECKING:
    from pathlib import Path
    from threading import Event

    from manta_runtime.models.files import RemoteFile, Source

log = logging.getLogger("manta.fetch")


def fault(file: RemoteFile, path: Path, source: Source, stop: Event) -> str:
    """Return what is wrong with a file, "" when nothing is.

    Raises StoppedError when `stop` is set meanwhile, OSError when the file cannot be read.
    """
    size = path.stat().st_size
    if size != file.size:
        return f"it has {size} bytes, the source says {file.size}"
    if wrong := _hash_fault(file, path, source, stop):
        return wrong
    return safetensors_fault(path) if file.path.lower().endswith(".safetensors") else ""


def _hash_fault(file: RemoteFile, path: Path, source: Source, stop: Event) -> str:
    if file.kind == "size":
        return ""
    if file.kind == "md5-parts":
        # Only a match tells something: the size of the parts was the uploader's choice.
        if not is_multipart_etag(path, file.digest, stop):
            log.warning("%s: its ETag %s is of parts of no usual size: only its size was checked", file.path, file.etag)
        return ""
    found = digest_of(path, file.kind, stop)
    if found == file.digest:
        return ""
    if file.kind == "md5" and not source.is_hash_of_content(file):
        log.warning("%s: the store encrypts it, so its ETag is no hash: only its size was checked", file.path)
        return ""
    return f"its {file.kind} is {found}, the source says {file.digest}"
