"""What checkpoints say, read beside the loop and remembered for a moment: many deployments and passes share a model.

A network folder that hangs holds up nobody: after a while its checkpoint counts as not seen from here, until the read
that hangs has ended. It is never read a second time meanwhile.
"""

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Callable

from manta_operator.facts.models import FactsError, ModelFacts

log = logging.getLogger(__name__)

FRESH_SECONDS = 10.0
PATIENCE_SECONDS = 5.0
"""How long a read may take before it is left to itself."""
KEPT = 256
READS_AT_ONCE = 16
HUNG_AT_ONCE = 64
"""Reads that hang, each in a thread; with so many of them no other one is begun."""

Facts = tuple[ModelFacts | None, str]
UNSEEN: Facts = (None, "")


class FactsReader:
    """Reads facts by URI; `read` of the given function may block and may raise FactsError."""

    def __init__(self, read: Callable[[str], ModelFacts | None]) -> None:
        self._read = read
        self._known: dict[str, tuple[float, Facts]] = {}
        self._asking: dict[str, asyncio.Task[Facts]] = {}
        self._hung: dict[str, asyncio.Task[Facts]] = {}
        self._turns = asyncio.Semaphore(READS_AT_ONCE)

    async def read(self, uri: str) -> Facts:
        """Return the facts, None where they cannot be seen, and what is wrong with the checkpoint, empty if nothing."""
        if (known := self._fresh(uri)) is not None:
            return known
        if uri not in self._asking:
            self._asking[uri] = asyncio.create_task(self._ask(uri))
        return await asyncio.shield(self._asking[uri])

    async def _ask(self, uri: str) -> Facts:
        """Read with patience, for everybody who asks meanwhile."""
        try:
            async with self._turns:
                reading = asyncio.create_task(self._look(uri))
                done, _ = await asyncio.wait({reading}, timeout=PATIENCE_SECONDS)
        finally:
            del self._asking[uri]
        if done:
            return reading.result()
        self._hung[uri] = reading
        log.warning("%s: reading it hangs; it counts as not seen from here until that has ended", uri)
        return UNSEEN

    def _fresh(self, uri: str) -> Facts | None:
        since, known = self._known.get(uri, (0.0, None))
        if known is not None and time.monotonic() - since < FRESH_SECONDS:
            return known
        return UNSEEN if uri in self._hung or len(self._hung) >= HUNG_AT_ONCE else None

    async def last(self, uri: str) -> Facts:
        """Return what was read last, however long ago; only where nothing was, like `read`."""
        if uri in self._known and uri not in self._hung:
            return self._known[uri][1]
        return await self.read(uri)

    def known(self, uri: str) -> Facts:
        """Return what was read last, without a look: nothing, if nobody has looked yet."""
        return self._known[uri][1] if uri in self._known and uri not in self._hung else UNSEEN

    async def _look(self, uri: str) -> Facts:
        try:
            found = (await _in_thread(self._read, uri), "")
        except FactsError as error:
            found = (None, str(error))
        finally:
            if self._hung.pop(uri, None) is not None:
                log.info("%s: reading it has ended", uri)
        while len(self._known) >= KEPT:
            del self._known[next(iter(self._known))]
        self._known[uri] = (time.monotonic(), found)
        return found


async def _in_thread(read: Callable[[str], ModelFacts | None], uri: str) -> ModelFacts | None:
    """Call it in a thread of its own that nobody waits for at the end: one of a pool would be waited for."""
    loop = asyncio.get_running_loop()
    result: asyncio.Future[ModelFacts | None] = loop.create_future()

    def answer(found: ModelFacts | None, error: Exception | None) -> None:
        if result.cancelled():
            return
        if error is None:
            result.set_result(found)
        else:
            result.set_exception(error)

    def work() -> None:
        found = trouble = None
        try:
            found = read(uri)
        except Exception as error:  # noqa: BLE001 - told to who awaits it
            trouble = error
        with contextlib.suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(answer, found, trouble)

    threading.Thread(target=work, name=f"read {uri}", daemon=True).start()
    return await result
