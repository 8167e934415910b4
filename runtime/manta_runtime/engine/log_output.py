"""Where a pod's log goes: one thread writes it, so that neither the launcher nor the engine ever waits for its reader.

Effects. The launcher's own lines come through `logging`, those of its children from journal.py; both end here, one
whole line after the other. A reader that stands still for long costs lines, not the engine: what was dropped is said.
"""

from __future__ import annotations

import errno
import logging
import math
import os
import select
import stat
import threading
import time
from typing import TYPE_CHECKING

from manta_runtime.engine.last_words import LastWords
from manta_runtime.engine.log_lines import Line, LogFormat, Place, Source, envelope, mask, secrets_of
from manta_runtime.engine.settings import SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable

STDERR = 2
"""The descriptor that a pod's log goes to: logs are no output of the command."""

MOST_BYTES = 8 * 1024 * 1024
"""So much of the log waits for a reader that is slow; beyond, lines are dropped."""

_PAUSE_SECONDS = 0.25
"""Between tries where writing fails: a full disk may have room again."""

_NOBODY_READS = (errno.EPIPE, errno.ECONNRESET, errno.EBADF)


def choose_format(asked: str, descriptor: int) -> LogFormat:
    """Return what MANTA_LOG asks for; without it JSON into a pipe (a container runtime), text to people and files.

    Raises SettingsError for another word.
    """
    if asked in ("json", "text"):
        return "json" if asked == "json" else "text"
    if asked:
        raise SettingsError(f"MANTA_LOG={asked}: use json or text (or leave it out).")
    try:
        mode = os.fstat(descriptor).st_mode
    except OSError:
        return "text"
    return "json" if stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) else "text"


class Output:
    """The log of this pod, written to a file descriptor. `phase` tells the pod's phase at the moment of a line.

    `redact` takes out of every line what no line may show, beside the secrets that are hidden by their value.
    """

    def __init__(
        self,
        descriptor: int,
        log_format: LogFormat,
        place: Place,
        phase: Callable[[], str],
        redact: Callable[[str], str] = str,
    ) -> None:
        self.last_words = LastWords()
        self.format = log_format
        self._redact = redact
        self._descriptor = descriptor
        self._place = place
        self._phase = phase
        self._secrets: tuple[str, ...] = ()
        self._waiting: list[bytes] = []
        self._size = 0
        self._dropped = 0
        self._trouble = ""
        self._gone = False
        self._closed = False
        self._ends = math.inf
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._write, name="log", daemon=True)
        self._thread.start()

    def hide(self, *secrets: str) -> None:
        """Let no line show these values from now on."""
        self._secrets = secrets_of({}, (*self._secrets, *secrets))

    def tell(self, source: Source, line: Line, raw: str) -> None:
        """Write one line; as text it is `raw`, and JSON leaves empty ones out. Never blocks."""
        if self.format == "json" and not raw.strip():
            return
        raw = self._clean(raw)
        self.last_words.hear(raw, line.level)
        self._put(self._render(source, line, raw))

    def close(self, seconds: float) -> None:
        """Wait until all is written, `seconds` at most."""
        with self._changed:
            self._closed = True
            self._ends = time.monotonic() + seconds
            self._changed.notify()
        self._thread.join(seconds)

    def _render(self, source: Source, line: Line, raw: str) -> bytes:
        if self.format == "text":
            return raw.encode(errors="backslashreplace") + b"\n"
        line = line._replace(message=self._clean(line.message))
        return envelope(self._place, self._phase(), source, line, time.time())

    def _clean(self, text: str) -> str:
        return self._redact(mask(text, self._secrets))

    def _put(self, line: bytes) -> None:
        with self._changed:
            if self._gone:
                return
            if self._size + len(line) > MOST_BYTES:
                self._dropped += 1
                return
            self._waiting.append(line)
            self._size += len(line)
            self._changed.notify()

    def _write(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closed)
                lines, self._waiting, self._size = self._waiting, [], 0
                dropped, self._dropped = self._dropped, 0
                if not lines and self._closed:
                    return
            if dropped:
                words = f"{dropped} lines of this log were dropped: {self._trouble or 'whoever reads it was too slow'}"
                lines.append(self._render("manta", Line("warning", words, "manta.engine"), words))
            self._trouble = ""
            if not self._write_all(b"".join(lines)):
                break
        with self._changed:
            self._gone, self._waiting = True, []

    def _write_all(self, data: bytes) -> bool:
        """Write it, however often that fails; return False when nobody reads any more, or at the end."""
        view = memoryview(data)
        while view:
            try:
                view = view[os.write(self._descriptor, view) :]
            except BlockingIOError:
                # Whoever shares the descriptor with us has made it non-blocking.
                select.select([], [self._descriptor], [])
            except OSError as error:
                if error.errno in _NOBODY_READS or time.monotonic() > self._ends:
                    return False
                self._trouble = f"writing it failed ({error.strerror})"
                time.sleep(_PAUSE_SECONDS)
        return True


class LogHandler(logging.Handler):
    """Takes our own lines to the output; text has the clock in front, and `who` speaks ("rank 0", "fetch")."""

    def __init__(self, output: Output, who: str) -> None:
        super().__init__()
        self._output = output
        self.setFormatter(logging.Formatter(f"%(asctime)s manta {who}: %(message)s", "%H:%M:%S"))

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record, with its traceback if it has one. Whatever the record is, nothing is raised."""
        try:
            raw = self.format(record)
        except Exception as error:  # noqa: BLE001 - a library's wrong call must not end what the library was doing
            what = record.msg if isinstance(record.msg, str) else type(record.msg).__name__
            place = f"{record.name} at {record.filename}:{record.lineno}"
            raw = f"wrong log call of {place}, {type(error).__name__}: {what}"
            self._output.tell("manta", Line("error", raw, record.name), raw)
            return
        message = record.message + ("\n" + record.exc_text if record.exc_text else "")
        self._output.tell("manta", Line(record.levelname.lower(), message, record.name), raw)
