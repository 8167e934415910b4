"""When to try again: back-off with jitter, what a server asks for, and an end.

Used by fetch.py for listings and by download.py for every chunk; bytes that arrive start the patience anew.
"""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING, TypeVar

from manta_runtime.models.failure import FetchError, StoppedError, TransientError

if TYPE_CHECKING:
    from collections.abc import Callable
    from threading import Event

_FIRST = 0.5
_LONGEST = 30.0
_LONGEST_ASKED = 300.0
T = TypeVar("T")


def delay(attempt: int, retry_after: float | None, chance: float) -> float:
    """Return how many seconds to wait before the try after failure number `attempt` (from 1); `chance` is in [0, 1).

    What a server asks for is a lower bound: jitter comes on top, so that many clients do not return at once.
    """
    backoff = min(_LONGEST, _FIRST * 2.0 ** min(attempt - 1, 10)) * (0.5 + chance / 2)
    if retry_after is None:
        return backoff
    return min(_LONGEST_ASKED, max(0.0, retry_after)) + backoff * 0.2


class Patience:
    """How long failures without a byte are borne: `seconds`, counted from the first failure after the last progress."""

    def __init__(self, seconds: float, stop: Event) -> None:
        self._seconds = seconds
        self._stop = stop
        self._since: float | None = None
        self._failures = 0

    def progress(self) -> None:
        """Begin anew: something arrived."""
        self._since = None
        self._failures = 0

    def wait(self, error: TransientError) -> float:
        """Wait before the next try and return the seconds waited.

        Raises FetchError when it would take longer than patience lasts, StoppedError when asked to stop.
        """
        now = time.monotonic()
        self._since = now if self._since is None else self._since
        self._failures += 1
        seconds = delay(self._failures, error.retry_after, random.random())  # noqa: S311 - jitter, no secret
        if now + seconds - self._since > self._seconds:
            raise FetchError(f"{error} (given up after {self._failures} tries in {now - self._since:.0f} s)") from error
        if self._stop.wait(seconds):
            raise StoppedError("stopped while waiting for another try")
        return seconds


def patiently(call: Callable[[], T], seconds: float, stop: Event, tell: Callable[[str], None]) -> T:
    """Return what `call` returns, trying again on TransientError; `tell` hears of every failure.

    Raises what `call` raises otherwise, FetchError when `seconds` are over, StoppedError.
    """
    patience = Patience(seconds, stop)
    while True:
        try:
            return call()
        except TransientError as error:
            tell(str(error))
            patience.wait(error)
