"""What checkpoints say, read off the loop and remembered for a moment: many deployments and passes share a model."""

import asyncio
import time
from collections.abc import Callable

from manta_operator.facts.models import FactsError, ModelFacts

FRESH_SECONDS = 10.0
KEPT = 256

Facts = tuple[ModelFacts | None, str]


class FactsReader:
    """Reads facts by URI; `read` of the given function may block and may raise FactsError."""

    def __init__(self, read: Callable[[str], ModelFacts | None]) -> None:
        self._read = read
        self._known: dict[str, tuple[float, Facts]] = {}

    async def read(self, uri: str) -> Facts:
        """Return the facts, None where they cannot be seen, and what is wrong with the checkpoint, empty if nothing."""
        since, known = self._known.get(uri, (0.0, None))
        if known is not None and time.monotonic() - since < FRESH_SECONDS:
            return known
        try:
            found = (await asyncio.to_thread(self._read, uri), "")
        except FactsError as error:
            found = (None, str(error))
        while len(self._known) >= KEPT:
            del self._known[next(iter(self._known))]
        self._known[uri] = (time.monotonic(), found)
        return found
