"""The one error that ends a launcher: a sentence for people and the exit code of the container."""

from __future__ import annotations

HUNG = 10
"""Exit code: requests waited too long without a step of the engine, or its HTTP server was deaf for too long."""
GROUP_OVER = 11
"""Exit code: another pod ended the group, and this one starts again with it; the other one knows why."""
FROZEN = 12
"""Exit code: a process of this rank was stopped and nobody let it go on."""
LATE = 13
"""Exit code: the group was not complete, or produced no token, by its deadline."""
CUT_OFF = 14
"""Exit code: told to stop, and requests were in flight at the drain deadline: they were cut off."""


class EngineFailure(Exception):
    """The engine of this pod cannot go on; the container exits with `code` and the kubelet starts it again.

    1 is what has no code of its own; 2 means wrong settings; others are vLLM's or Ray's own.
    """

    def __init__(self, message: str, code: int = 1) -> None:
        super().__init__(message)
        self.code = code
