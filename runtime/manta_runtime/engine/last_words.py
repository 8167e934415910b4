"""The termination message of a container whose log is JSON: the end of the log in plain words. Effects, at the end.

Kubernetes takes a container's last words from a file, or else from the end of its log, 2 KiB of it. In JSON those would
be few lines, and no words for the condition that shows them; so the launcher writes the file itself.
"""

from __future__ import annotations

import os
from collections import deque
from contextlib import suppress
from pathlib import Path

TERMINATION_LOG = Path("/dev/termination-log")
"""Where Kubernetes reads them, unless the pod says otherwise."""

_LINES = 40
_LONGEST_LINE = 400
_MOST_BYTES = 2048


class LastWords:
    """The latest lines of the pod's log, as text."""

    def __init__(self) -> None:
        self._lines: deque[str] = deque(maxlen=_LINES)

    def hear(self, text: str) -> None:
        """Remember one line."""
        self._lines.append(text[:_LONGEST_LINE])

    def text(self) -> str:
        """Return the end of what was heard: whole lines, at most 2 KiB."""
        kept: list[str] = []
        size = 0
        for line in reversed(self._lines):
            size += len(line.encode(errors="replace")) + 1
            if size > _MOST_BYTES:
                break
            kept.append(line)
        return "\n".join(reversed(kept))

    def leave(self, path: Path = TERMINATION_LOG) -> None:
        """Write them where the kubelet looks. Does nothing where there is no such file: nobody asked for it."""
        with suppress(OSError):
            # Never made, never followed as a link: it is a file that the kubelet has mounted.
            descriptor = os.open(path, os.O_WRONLY | os.O_TRUNC | os.O_NOFOLLOW)
            with os.fdopen(descriptor, "wb") as file:
                file.write(self.text().encode(errors="replace"))
