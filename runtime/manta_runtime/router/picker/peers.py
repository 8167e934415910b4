"""Asks the other routers of the deployment once a second what their tenants spend, so that limits hold for all.

`limits.py` judges; here is the I/O. A router that does not answer keeps what it last told for some seconds.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable

import aiohttp
import msgspec

from manta_runtime.router.membership import Endpoint
from manta_runtime.router.picker.limits import Limits
from manta_runtime.router.picker.spending import Usage

log = logging.getLogger(__name__)

PERIOD_SECONDS = 1.0
_TIMEOUT = aiohttp.ClientTimeout(total=0.9)
_MOST_BYTES = 16 << 20
_decoder = msgspec.json.Decoder(Usage)


class Peers:
    """Polls `GET http://<address>/usage` of each endpoint (the pods of this router, ready or not, but ourselves)."""

    def __init__(
        self, limits: Limits, endpoints: Callable[[], Iterable[Endpoint]], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._limits = limits
        self._endpoints = endpoints
        self._clock = clock
        self._silent: set[str] = set()

    async def run(self) -> None:
        """Ask for ever; what an address answers wrongly or not at all is logged once."""
        async with aiohttp.ClientSession(timeout=_TIMEOUT) as session:
            while True:
                began = self._clock()
                await asyncio.gather(*(self._ask(session, endpoint) for endpoint in self._endpoints()))
                self._limits.forget_silent(self._clock())
                await asyncio.sleep(max(0.0, began + PERIOD_SECONDS - self._clock()))

    async def _ask(self, session: aiohttp.ClientSession, endpoint: Endpoint) -> None:
        try:
            async with session.get(f"http://{endpoint.address}/usage", raise_for_status=True) as response:
                if (response.content_length or 0) > _MOST_BYTES:
                    raise ValueError(f"{response.content_length} bytes are too many")  # noqa: TRY301 - handled below
                usage = _decoder.decode(await response.read())
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            self._failed(endpoint, error)
            return
        self._silent.discard(endpoint.name)
        self._limits.peers(endpoint.name, usage, self._clock())

    def _failed(self, endpoint: Endpoint, error: Exception) -> None:
        if endpoint.name not in self._silent:
            self._silent.add(endpoint.name)
            why = str(error) or type(error).__name__
            log.warning("router %s (%s) does not tell its usage: %s", endpoint.name, endpoint.address, why)
