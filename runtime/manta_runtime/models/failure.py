"""Why a fetch ends: sentences for people, and what the exit code tells the operator.

Raised by every module of this package, judged by retry.py, reported by fetch.py.
"""

from __future__ import annotations

RETRIED = 1
"""Exit code: it was tried for long enough; the next start goes on from what is there."""
PERMANENT = 3
"""Exit code: trying again changes nothing until somebody changes something."""
STOPPED = 143
"""Exit code after SIGTERM; not 0, or Kubernetes would start the engine without a model."""


class FetchError(Exception):
    """The fetch cannot go on; the message says what, where and what to do."""

    code = RETRIED


class PermanentError(FetchError):
    """Nothing is gained by another try."""

    code = PERMANENT


class TransientError(FetchError):
    """Another try may work; `retry_after` is what the server asked for, in seconds, None when it did not."""

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class ChangedError(FetchError):
    """What is at the source is no longer what was listed: list again."""


class StoppedError(FetchError):
    """SIGTERM came; what was fetched is kept."""

    code = STOPPED
