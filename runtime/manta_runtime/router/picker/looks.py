"""Looks at every usable engine once a second, staggered; asks for its models; waits for those that failed to come back.

What is seen goes to the functions given; `scrape.py` and `models_list.py` read it.
"""

import asyncio
import hashlib
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from manta_runtime.router.membership import Endpoint, Members
from manta_runtime.router.picker import scrape
from manta_runtime.router.picker.engine_client import EngineClient, EngineError
from manta_runtime.router.picker.scrape import Look

log = logging.getLogger(__name__)

PERIOD_SECONDS = 1.0
_MODELS_EVERY = 10  # looks
_SILENT_AFTER = 5  # looks in a row without an answer: what was seen before counts no more
_PROBE_SECONDS = (0.1, 2.0)  # first, last
_OK, _SERVER_ERROR = 200, 500


@dataclass(frozen=True)
class Seen:
    """Whom to tell. Names are of replicas; `look` also gets the time of asking.

    `dead`: it refused a connection, or has not answered for several looks; `silent`: it says nothing of itself;
    `models`: its answer, empty if it has none to tell.
    """

    look: Callable[[str, Look, float], None]
    silent: Callable[[str], None]
    dead: Callable[[str], None]
    models: Callable[[str, bytes], None]
    restored: Callable[[str], None]


class Looks:
    """A task for each usable replica, and one for each that is out."""

    def __init__(self, members: Members, seen: Seen) -> None:
        self._members = members
        self._seen = seen
        self._watched: dict[Endpoint, asyncio.Task[None]] = {}
        self._probed: dict[str, asyncio.Task[None]] = {}

    def follow(self) -> None:
        """The members have changed."""
        usable = set(self._members.usable)
        for endpoint in [endpoint for endpoint in self._watched if endpoint not in usable]:
            self._watched.pop(endpoint).cancel()
        for endpoint in usable.difference(self._watched):
            self._watched[endpoint] = asyncio.create_task(self._watch(endpoint))
        by_name = {endpoint.name: endpoint for endpoint in usable}
        for name in [name for name in self._probed if name not in self._members.ejected]:
            self._probed.pop(name).cancel()
        for name in self._members.ejected.difference(self._probed):
            self._probed[name] = asyncio.create_task(self._probe(by_name[name]))

    async def close(self) -> None:
        """End all tasks."""
        tasks = [*self._watched.values(), *self._probed.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _watch(self, endpoint: Endpoint) -> None:
        client = EngineClient(endpoint.address)
        loop = asyncio.get_running_loop()
        number, silent, told = 0, 0, False
        due = loop.time()
        try:
            while True:
                asked_at = time.monotonic()
                silent = 0 if await self._look(client, endpoint, asked_at, silent) else silent + 1
                if silent == _SILENT_AFTER:
                    self._seen.silent(endpoint.name)
                if not told or number % _MODELS_EVERY == 0:
                    told = await self._ask_models(client, endpoint) or told
                due += PERIOD_SECONDS * (_phase(endpoint.name) if number == 0 else 1.0)
                number += 1
                due = max(due, loop.time())
                await asyncio.sleep(due - loop.time())
        finally:
            client.close()

    async def _look(self, client: EngineClient, endpoint: Endpoint, asked_at: float, silent: int) -> bool:
        try:
            status, text = await client.get("/metrics")
            look = scrape.read(text) if status == _OK else None
        except EngineError as error:
            log.debug("no metrics from %s: %s", endpoint.name, error)
            if error.broken or silent + 1 >= _SILENT_AFTER:
                self._seen.dead(endpoint.name)
            return False
        except ValueError as error:
            log.debug("metrics of %s: %s", endpoint.name, error)
            return False
        if look is None:
            return False
        self._seen.look(endpoint.name, look, asked_at)
        return True

    async def _ask_models(self, client: EngineClient, endpoint: Endpoint) -> bool:
        try:
            status, body = await client.get("/v1/models")
        except EngineError as error:
            log.debug("no models from %s: %s", endpoint.name, error)
            return False
        if status >= _SERVER_ERROR:
            return False
        self._seen.models(endpoint.name, body if status == _OK else b"")
        return True

    async def _probe(self, endpoint: Endpoint) -> None:
        """Ask for its health until it answers."""
        delay, last = _PROBE_SECONDS
        client = EngineClient(endpoint.address, timeout=1.0)
        try:
            while True:
                await asyncio.sleep(delay)
                try:
                    status, _ = await client.get("/health")
                except EngineError:
                    status = 0
                if status == _OK:
                    break
                delay = min(2 * delay, last)
        finally:
            client.close()
        self._seen.restored(endpoint.name)


def _phase(name: str) -> float:
    """0..1: spreads the looks at many replicas over the second, and those of two routers alike."""
    return hashlib.blake2b(name.encode(), digest_size=1).digest()[0] / 256
