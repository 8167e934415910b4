"""When something happened lately; forgotten by itself, so that what comes and goes for ever takes no memory."""

import time
from typing import Generic, TypeVar

_K = TypeVar("_K")


class Recent(Generic[_K]):
    """Moments (time.monotonic) by key, for `seconds` at least."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._moments: dict[_K, float] = {}

    def note(self, key: _K) -> None:
        """Note that it happens now."""
        now = time.monotonic()
        self._moments.pop(key, None)  # so that the oldest comes first
        self._moments[key] = now
        while self._moments[oldest := next(iter(self._moments))] < now - self._seconds:
            del self._moments[oldest]

    def when(self, key: _K) -> float:
        """Return when it last happened; 0 if that is not known, or was long ago."""
        return self._moments.get(key, 0.0)

    def __len__(self) -> int:
        return len(self._moments)
