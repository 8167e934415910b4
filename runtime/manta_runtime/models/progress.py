"""How far a fetch is: counted by the download's threads, told by the log, by GET /fetch and to those who wait.

Thread-safe. Rates are of this run's bytes over the last half minute, so that what was there before does not count.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from manta_runtime.models.disk import gigabytes

if TYPE_CHECKING:
    from collections.abc import Callable

_WINDOW = 30.0


@dataclass(frozen=True)
class Snapshot:
    """One look at a fetch: sizes in bytes, rates in bytes a second, times in seconds (`seconds_left` None: unknown)."""

    state: str
    file: str
    bytes: int
    total: int
    bytes_per_s: float
    seconds_left: float | None
    waiting_for: str
    seconds: float

    def line(self) -> str:
        """Return the snapshot as a line of the log."""
        if self.state == "waiting":
            return f"waiting for {self.waiting_for}"
        if not self.total:
            return self.state
        left = "" if self.seconds_left is None else f", {self.seconds_left:.0f} s left"
        share = 100 * self.bytes // self.total
        return (
            f"{self.state}: {gigabytes(self.bytes)} of {gigabytes(self.total)} ({share} %), "
            f"{gigabytes(self.bytes_per_s)}/s{left}"
        )


class Progress:
    """The counters of one fetch."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._started = clock()
        self._state, self._file, self._waiting = "starting", "", ""
        self._bytes = self._total = self._fetched = 0
        self._samples: deque[tuple[float, int]] = deque([(self._started, 0)])

    def enter(self, state: str, waiting_for: str = "") -> None:
        """Begin a phase: starting, waiting, listing, fetching, finishing, done, failed."""
        with self._lock:
            self._state, self._waiting = state, waiting_for

    def plan(self, total: int, have: int) -> None:
        """Set what there is to fetch and what of it is there already, in bytes."""
        with self._lock:
            self._total, self._bytes = total, have

    def add(self, file: str, count: int) -> None:
        """Count bytes of a file that have arrived."""
        with self._lock:
            self._file = file
            self._bytes += count
            self._fetched += count

    def lose(self, count: int) -> None:
        """Take back bytes that turned out to be wrong, or that have to be fetched again."""
        with self._lock:
            self._bytes -= count

    def look(self) -> Snapshot:
        """Return how far the fetch is."""
        with self._lock:
            now = self._clock()
            self._samples.append((now, self._fetched))
            while len(self._samples) > 2 and self._samples[1][0] <= now - _WINDOW:
                self._samples.popleft()
            then, before = self._samples[0]
            rate = (self._fetched - before) / (now - then) if now > then else 0.0
            left = (self._total - self._bytes) / rate if rate > 0 and self._state == "fetching" else None
            return Snapshot(
                self._state,
                self._file,
                self._bytes,
                self._total,
                round(rate, 1),
                None if left is None else round(left, 1),
                self._waiting,
                round(now - self._started, 3),
            )


def as_json(snapshot: Snapshot) -> dict[str, Any]:
    """Return what GET /fetch answers."""
    return {name: getattr(snapshot, name) for name in Snapshot.__dataclass_fields__}
