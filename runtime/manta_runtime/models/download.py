"""Brings the missing chunks of all files with a bounded number of threads, verifies each file, moves it to its place.

Between the listing and the rename. A thread holds one block of one chunk: memory does not grow with the model.
The first error that is not to be retried ends all threads, also those that wait for another try; what is on the disk
stays for the next fetch.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from manta_runtime.models.failure import ChangedError, FetchError, PermanentError, StoppedError, TransientError
from manta_runtime.models.parts import Part
from manta_runtime.models.retry import Patience
from manta_runtime.models.verify import fault

if TYPE_CHECKING:
    from collections.abc import Iterable
    from threading import Event

    from manta_runtime.models.files import RemoteFile, Source
    from manta_runtime.models.progress import Progress
    from manta_runtime.models.settings import FetchSettings
    from manta_runtime.models.staging import Staging

log = logging.getLogger("manta.fetch")
_GRACE = 0.5  # seconds
_LOOK_EVERY = 0.2  # seconds, for `stop`
_MOST_FAILURES = 1000  # of one chunk: a source that sends a byte and hangs up, again and again, is given up


@dataclass
class _Work:
    file: RemoteFile
    part: Part
    chunks: deque[tuple[int, int, int]]
    busy: int = 0
    refused: bool = False


class Download:
    """One run over the files of a listing."""

    def __init__(
        self, source: Source, staging: Staging, progress: Progress, settings: FetchSettings, stop: Event
    ) -> None:
        self._source = source
        self._staging = staging
        self._progress = progress
        self._settings = settings
        self._stop = stop
        self._ended = threading.Event()  # by a failure or by `stop`: the one thing that threads wait on
        self._errors: list[BaseException] = []
        self._lock = threading.Lock()
        self._queue: deque[_Work] = deque()
        self._open = 0
        self._changed = threading.Condition(self._lock)

    def missing(self, files: Iterable[RemoteFile]) -> int:
        """Return the bytes that have to be fetched, and tell the progress what is there; raises OSError."""
        total, missing = 0, 0
        for file in files:
            total += file.size
            if not self._staging.is_done(file):
                with closing(self._part(file)) as part:
                    missing += file.size - part.have
        self._progress.plan(total, total - missing)
        return missing

    def run(self, files: Iterable[RemoteFile]) -> None:
        """Fetch and verify all files that are not done; returns when they are at their places.

        Raises FetchError (of all kinds) or OSError: what ended the first thread that failed.
        """
        # Small files first: configuration errors show early, and the end is not a queue of tiny requests.
        for file in sorted(files, key=lambda file: (file.size, file.path)):
            if not self._staging.is_done(file):
                self._queue.append(self._work(file))
        self._open = len(self._queue)
        threads = [
            threading.Thread(target=self._thread, name=f"fetch-{number}", daemon=True)
            for number in range(self._settings.parallel)
        ]
        for thread in threads:
            thread.start()
        self._wait()
        if self._errors:
            # The others see it at their next block. Before another run in this process all must have ended; at the
            # end of the process nobody waits for who hangs in a read.
            again = isinstance(self._errors[0], ChangedError)
            for thread in threads:
                thread.join(None if again else _GRACE / len(threads))
            raise self._errors[0]

    def _wait(self) -> None:
        """Wait until all files are done or a thread has failed; ends the threads when asked to stop."""
        with self._changed:
            while not self._changed.wait_for(lambda: not self._open or self._errors, _LOOK_EVERY):
                if self._stop.is_set():
                    self._errors.append(StoppedError("stopped: what was fetched is kept"))
                    self._ended.set()
                    self._changed.notify_all()

    def _part(self, file: RemoteFile) -> Part:
        return Part(self._staging.parts, file.key, file.size, self._settings.chunk)

    def _work(self, file: RemoteFile) -> _Work:
        part = self._part(file)
        chunks = part.missing()
        part.close()
        return _Work(file, part, deque(chunks))

    def _thread(self) -> None:
        try:
            while (taken := self._take()) is not None:
                self._serve(*taken)
        except BaseException as error:  # noqa: BLE001 - whatever ends a thread ends the fetch, in run()
            with self._changed:
                self._errors.append(error)
                self._ended.set()
                self._changed.notify_all()

    def _take(self) -> tuple[_Work, tuple[int, int, int] | None] | None:
        """Return a chunk to fetch, or a file to judge (None); None alone when all is done or a thread has failed."""
        with self._changed:
            while not self._queue and self._open and not self._ended.is_set():
                self._changed.wait()
            if not self._open or self._ended.is_set():
                return None
            work = self._queue[0]
            chunk = work.chunks.popleft() if work.chunks else None
            if not work.chunks:
                self._queue.popleft()
            if chunk is not None and not work.busy:
                work.part = self._part(work.file)
            work.busy += chunk is not None
            return work, chunk

    def _serve(self, work: _Work, chunk: tuple[int, int, int] | None) -> None:
        last = chunk is None
        if chunk is not None:
            self._bring(work, *chunk[1:])
            last = work.part.finish(chunk[0])
            with self._changed:
                work.busy -= 1
                if not work.busy:
                    work.part.close()
        if last:
            self._judge(work)

    def _bring(self, work: _Work, start: int, end: int) -> None:
        """Fetch one chunk, going on inside it after each cut connection."""
        patience = Patience(self._settings.retry_seconds, self._ended)
        at, failures = start, 0
        while at < end:
            self._check_ended()
            try:
                for block in self._source.read(work.file, at, end):
                    self._check_ended()
                    work.part.write(at, block)
                    at += len(block)
                    self._progress.add(work.file.path, len(block))
                    patience.progress()
                if at < end:
                    raise TransientError(f"{work.file.path}: the connection ended at byte {at} of {end}")  # noqa: TRY301
            except TransientError as error:
                failures += 1
                if failures > _MOST_FAILURES:
                    raise FetchError(f"{error} (given up after {failures} tries)") from error
                waited = patience.wait(error)
                log.info("%s; tried again after %.1f s", error, waited)

    def _judge(self, work: _Work) -> None:
        wrong = fault(work.file, self._staging.parts / f"{work.file.key}.part", self._source, self._ended)
        if not wrong:
            self._staging.keep(work.file)
            with self._changed:
                self._open -= 1
                self._changed.notify_all()
            return
        with closing(self._part(work.file)) as part:
            part.clear()
            chunks = deque(part.missing())
        if work.refused or not chunks:
            raise PermanentError(
                f"{work.file.path} is not what the source says, twice in a row: {wrong}. The source is damaged, or a "
                "proxy changes what passes: upload the file again, or look at the proxy"
            )
        log.warning("%s: %s; it is fetched again", work.file.path, wrong)
        self._progress.lose(work.file.size)
        with self._changed:
            self._queue.append(_Work(work.file, part, chunks, refused=True))
            self._changed.notify_all()

    def _check_ended(self) -> None:
        if self._stop.is_set() or self._ended.is_set():
            raise StoppedError("stopped: what was fetched is kept")
