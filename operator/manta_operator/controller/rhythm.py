"""When the next pass is due: resync, retries that grow, and never sooner than the API server asked for."""

import random
from dataclasses import dataclass

FIRST_RETRY_SECONDS = 1.0
LONGEST_RETRY_SECONDS = 60.0
JITTER = 0.1
"""Part of a pause that is random, so that a thousand daemons do not act in step."""


@dataclass(frozen=True)
class Rhythm:
    """Pauses in seconds."""

    resync_seconds: float

    def resync(self) -> float:
        """Return how long to wait where nothing is to be done."""
        return self.resync_seconds * _jitter()

    def retry(self, failed: int, asked: float = 0.0) -> float:
        """Return how long to wait after `failed` passes in a row; at least what the API server `asked` for."""
        longest = min(LONGEST_RETRY_SECONDS, max(FIRST_RETRY_SECONDS, self.resync_seconds))
        grown = FIRST_RETRY_SECONDS * 2.0 ** min(max(failed - 1, 0), 16)
        return max(min(grown, longest) * _jitter(), asked)


def _jitter() -> float:
    return random.uniform(1.0 - JITTER, 1.0)  # noqa: S311 - spreads load, guards nothing
