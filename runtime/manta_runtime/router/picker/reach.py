"""Which engines Envoy can be sent to: `endpoints.py` writes a file, and Envoy reads it when the kernel tells it to.

A request for an address that Envoy does not know yet goes wherever Envoy likes, full replicas included, and nowhere if
it knows none: a 503 for who waited for the first replica. So a new replica is picked from when Envoy has said (its
launcher, `envoy_admin.py`, is asked) that it has the file's version: milliseconds later, on a busy node more.
"""

import asyncio
import logging
from collections.abc import Callable

from manta_runtime.router.picker.engine_client import EngineClient, EngineError

log = logging.getLogger(__name__)

PATIENCE_SECONDS = 2.0
_OK = 200
_POLL_SECONDS = (0.002, 0.1)  # first, last


class Reach:
    """`client` asks the launcher; `changed` is called with what Envoy knows, once it knows more.

    A launcher that does not tell in `PATIENCE_SECONDS` is not waited for: without it all would go on as if it had.
    """

    def __init__(self, client: EngineClient, changed: Callable[[frozenset[str]], None]) -> None:
        self._client = client
        self._changed = changed
        self._version = ""
        self._written: frozenset[str] = frozenset()
        self._known: frozenset[str] = frozenset()
        self._asking: asyncio.Task[None] | None = None

    def follow(self, version: str, addresses: frozenset[str]) -> frozenset[str]:
        """The file has these addresses (ip:port) now, in this version; returns those that Envoy knows already."""
        self._version, self._written = version, addresses
        self._known &= addresses
        if self._known != addresses and (self._asking is None or self._asking.done()):
            self._asking = asyncio.create_task(self._ask())
        return self._known

    async def close(self) -> None:
        """Ask no more."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.gather(self._asking, return_exceptions=True)
        self._client.close()

    async def _ask(self) -> None:
        delay, last = _POLL_SECONDS
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                while await self._told() != self._version:
                    await asyncio.sleep(delay)
                    delay = min(2 * delay, last)
        except TimeoutError:
            new = len(self._written - self._known)
            log.warning("Envoy has not said in %g s that it knows %d new replicas: going on", PATIENCE_SECONDS, new)
        self._known = self._written
        self._changed(self._known)

    async def _told(self) -> str:
        """The version that Envoy has; empty if nobody says."""
        try:
            status, body = await self._client.get("/endpoints")
        except EngineError as error:
            log.debug("Envoy's launcher: %s", error)
            return ""
        return body.decode("latin-1") if status == _OK else ""
