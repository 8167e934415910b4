"""The work of a fetch, in one thread: lock, list, choose, check, download, publish.

fetch.py runs it beside the log and the HTTP server, and asks it to stop.
"""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

from manta_runtime.models.disk import check_room, explain, gigabytes
from manta_runtime.models.download import Download
from manta_runtime.models.failure import ChangedError, FetchError
from manta_runtime.models.lock import locked
from manta_runtime.models.manifest import Manifest, damaged
from manta_runtime.models.names import check_names
from manta_runtime.models.progress import as_json
from manta_runtime.models.retry import patiently
from manta_runtime.models.selection import check_adapter, select
from manta_runtime.models.staging import Staging

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from threading import Event

    from manta_runtime.models.files import RemoteFile, Source
    from manta_runtime.models.progress import Progress
    from manta_runtime.models.settings import FetchSettings

log = logging.getLogger("manta.fetch")
_MOST_CHANGES = 3


def run_job(settings: FetchSettings, progress: Progress, stop: Event, connect: Callable[[], Source]) -> None:
    """Bring the model to its folder; returns when it is there and complete.

    Raises FetchError with the code to exit with.
    """
    staging = Staging(settings.to, settings.chunk)
    try:
        settings.to.parent.mkdir(parents=True, exist_ok=True)
        with locked(staging.lock, stop, lambda: progress.enter("waiting", _holder(staging))):
            _under_lock(settings, staging, progress, stop, connect)
    except OSError as error:
        raise explain(error, settings.to.parent) from error


def _under_lock(
    settings: FetchSettings, staging: Staging, progress: Progress, stop: Event, connect: Callable[[], Source]
) -> None:
    manifest = staging.check_target(str(settings.uri), settings.revision)
    if manifest is not None:
        if not damaged(settings.to, manifest):
            log.info("%s is complete (fetched by another pod)", settings.to)
            return
        wrong = staging.take_back(manifest)
        log.warning("%s is damaged and is repaired: %s", settings.to, ", ".join(wrong[:5]))
    repaired = staging.make()
    write_progress(staging, settings.holder, progress)
    source = connect()
    if repaired and repaired.resolved and (repaired.uri, repaired.revision) == (str(settings.uri), settings.revision):
        # Others of this cache may serve that commit: a repair must not bring another one.
        source.pin(repaired.resolved)
    for change in range(1, _MOST_CHANGES + 1):
        try:
            _fetch(settings, staging, progress, stop, source)
        except ChangedError as error:
            if change == _MOST_CHANGES:
                raise FetchError(f"{error}; {settings.uri} changes again and again: is it still uploaded?") from error
            log.warning("%s: listing again", error)
        else:
            return


def _fetch(settings: FetchSettings, staging: Staging, progress: Progress, stop: Event, source: Source) -> None:
    progress.enter("listing")
    listing = patiently(source.listing, settings.retry_seconds, stop, log.warning)
    where = str(settings.uri)
    if settings.adapter:
        check_adapter(listing.files, where)
    files = select(listing.files, where)
    check_names((file.path for file in files), where)
    staging.forget_others(files)
    download = Download(source, staging, progress, settings, stop)
    missing = download.missing(files)
    manifest = Manifest(where, settings.revision, listing.resolved, files)
    sizes = f"{gigabytes(manifest.total)}, of which {gigabytes(missing)} are missing"
    at = f"{where} at {listing.resolved}" if listing.resolved else where
    log.info("%s: %d of %d files, %s", at, len(files), len(listing.files), sizes)
    check_room(staging.root, missing)
    progress.enter("fetching")
    download.run(files)
    progress.enter("finishing")
    if not listing.resolved:
        _check_unchanged(settings, stop, source, files)
    staging.publish(manifest)


def _check_unchanged(settings: FetchSettings, stop: Event, source: Source, files: Sequence[RemoteFile]) -> None:
    """Compare with a second listing: the first may be of an upload on its way, half old and half new.

    Raises ChangedError.
    """
    listing = patiently(source.listing, settings.retry_seconds, stop, log.warning)
    now = {(file.path, file.size, file.etag) for file in select(listing.files, str(settings.uri))}
    if changed := now ^ {(file.path, file.size, file.etag) for file in files}:
        raise ChangedError(f"{min(changed)[0]} of {settings.uri}: changed during the fetch")


def write_progress(staging: Staging, holder: str, progress: Progress) -> None:
    """Tell those who wait who fetches, and how far it is; raises OSError."""
    text = json.dumps({"holder": holder, **as_json(progress.look())})
    part = staging.progress.with_suffix(".part")
    part.write_text(text, encoding="utf-8")
    part.rename(staging.progress)


def _holder(staging: Staging) -> str:
    try:
        told: Mapping[str, Any] = json.loads(staging.progress.read_text(encoding="utf-8"))
        done, total = int(told["bytes"]), int(told["total"])
        far = f", {gigabytes(done)} of {gigabytes(total)}, {gigabytes(told['bytes_per_s'])}/s" if total else ""
        return f"{told['holder']}, which fetches it ({told['state']}{far})"
    except (OSError, ValueError, KeyError, TypeError):
        return "another pod, which fetches it"
