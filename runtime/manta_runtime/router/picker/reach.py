"""Which engines Envoy can be sent to: it reads the file of `endpoints.py` when the kernel tells it of a new one.

A request for an address that Envoy does not know yet goes wherever Envoy likes, full replicas included, and nowhere if
it knows none: a 503 for who waited for the first replica. So a new address is known when Envoy has said (its launcher,
`envoy_admin.py`, is asked) that it has a version with it, and every version since has it, too: milliseconds later.
"""

import asyncio
import logging
from collections.abc import Callable

from manta_runtime.router.picker.engine_client import EngineClient, EngineError

log = logging.getLogger(__name__)

SILENT_SECONDS = 2.0
"""After so long without an answer nobody is waited for: without a launcher all would go on as if it had told."""
BEHIND_SECONDS = 30.0
"""Nor an Envoy that has, for so long, told of no version that would be news."""

_OK = 200
_POLL_SECONDS = (0.002, 0.1)  # first, last


class Reach:
    """`client` asks the launcher; `known` is what Envoy has to begin with; `changed` gets it when it is more.

    `settled`: there was a moment at which it knew all.
    """

    def __init__(self, client: EngineClient, known: frozenset[str], changed: Callable[[frozenset[str]], None]) -> None:
        self.known = known
        self.settled = False
        self._client = client
        self._changed = changed
        self._now: frozenset[str] = known
        self._written: dict[str, frozenset[str]] = {}  # version → addresses, since the last that Envoy told, in order
        self._asking: asyncio.Task[None] | None = None

    def follow(self, version: str, addresses: frozenset[str]) -> None:
        """The file has these addresses (ip:port) now, in this version; what it has not, Envoy will forget."""
        self._written[version] = self._now = addresses
        self.known &= addresses
        if self.known == addresses:
            self.settled = True
            self._written.clear()
        elif self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._ask())

    async def close(self) -> None:
        """Ask no more."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.gather(self._asking, return_exceptions=True)
        self._client.close()

    async def _ask(self) -> None:
        """Ask until Envoy knows all."""
        try:
            if not await self._told_all():
                log.warning("Envoy has not said that it knows %d new replicas: going on", len(self._now - self.known))
        except Exception:
            log.exception("cannot ask what Envoy knows: going on")
        self.known, self.settled = self._now, True
        self._written.clear()
        self._tell()

    def _tell(self) -> None:
        try:
            self._changed(self.known)
        except Exception:
            log.exception("what Envoy knows now came to nothing")

    async def _told_all(self) -> bool:
        clock = asyncio.get_running_loop().time
        heard = news = clock()
        delay, last = _POLL_SECONDS
        while self.known != self._now:
            told = await self._told()
            heard = heard if told is None else clock()
            if told in self._written:
                news = clock()
                self._learn(told)
                continue
            if clock() - heard > SILENT_SECONDS or clock() - news > BEHIND_SECONDS:
                return False
            await asyncio.sleep(delay)
            delay = min(2 * delay, last)
        return True

    def _learn(self, version: str) -> None:
        """Envoy has this version, and may get each of the later ones at any moment."""
        versions = list(self._written)
        since = [self._written[each] for each in versions[versions.index(version) :]]
        for each in versions[: versions.index(version) + 1]:
            del self._written[each]
        self.known |= frozenset.intersection(*since)
        self._tell()

    async def _told(self) -> str | None:
        """The version that Envoy has; None if nobody says."""
        try:
            status, body = await self._client.get("/endpoints")
        except EngineError as error:
            log.debug("Envoy's launcher: %s", error)
            return None
        return body.decode("latin-1") if status == _OK else None
