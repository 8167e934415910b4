"""The last words of a container: the end of its log, and the errors that count. Effects, at the end.

Kubernetes takes a container's last words from a file, or else from the end of its log, 2 KiB of it. In JSON those would
be few lines, and no words for the condition that shows them; so the launcher writes the file itself. As text it is the
log that counts. The latest errors are in both: with vLLM they are often far above the end, behind the tracebacks of its
other processes; the file has room for them, and the log has them once more at its end.
"""

from __future__ import annotations

import os
from collections import deque
from contextlib import suppress
from pathlib import Path

TERMINATION_LOG = Path("/dev/termination-log")
"""Where Kubernetes reads them, unless the pod says otherwise."""

_LINES = 40
_ERRORS = 3
_LONGEST_BYTES = 500
_MOST_BYTES = 2048


class LastWords:
    """The latest lines of the pod's log, as text."""

    def __init__(self) -> None:
        self._lines: deque[str] = deque(maxlen=_LINES)
        self._errors: deque[str] = deque(maxlen=_ERRORS)

    def hear(self, text: str, level: str) -> None:
        """Remember one line, and longer if it names an error and is of level error or critical."""
        line = text if len(text) * 4 <= _LONGEST_BYTES else _begin_of(text)
        self._lines.append(line)
        names_error = level in ("error", "critical") and ("Error: " in line or "Exception: " in line)
        # Some only point to the one that tells.
        if names_error and "root cause" not in line and line not in self._errors:
            self._errors.append(line)

    def text(self) -> str:
        """Return the latest errors and the end of what was heard: whole lines, at most 4 KiB."""
        return "\n".join([*self.above(), *self._end()])

    def above(self) -> list[str]:
        """Return the latest errors that are too far above the end of the log to be seen there."""
        end = self._end()
        return [error for error in self._errors if error not in end]

    def _end(self) -> list[str]:
        kept: list[str] = []
        size = 0
        for line in reversed(self._lines):
            size += len(line.encode(errors="replace")) + 1
            if size > _MOST_BYTES:
                break
            kept.append(line)
        return kept[::-1]

    def leave(self, path: Path = TERMINATION_LOG) -> None:
        """Write them where the kubelet looks. Does nothing where there is no such file: nobody asked for it."""
        with suppress(OSError):
            # Never made, never followed as a link: it is a file that the kubelet has mounted.
            descriptor = os.open(path, os.O_WRONLY | os.O_TRUNC | os.O_NOFOLLOW)
            with os.fdopen(descriptor, "wb") as file:
                file.write(self.text().encode(errors="replace"))


def _begin_of(text: str) -> str:
    return text[:_LONGEST_BYTES].encode(errors="replace")[:_LONGEST_BYTES].decode(errors="ignore")
