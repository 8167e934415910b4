"""Looks at every usable engine once a second, staggered; asks for its models; waits for those that failed to come back.

What is seen goes to the functions given; `scrape.py` and `models_list.py` read it.
"""

import asyncio
import contextlib
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
_PAUSE_SECONDS = 0.1  # between looks, however urgent
_MODELS_EVERY = 10  # looks
_MOST_BYTES = 4 << 20  # of metrics: those of 50 engine cores; to read them takes 8 ms, of an ordinary one's 0.1 ms
_SILENT_AFTER = 5  # looks in a row without an answer: what was seen before counts no more
_PROBE_SECONDS = (0.1, 2.0)  # first, last
_OK, _SERVER_ERROR = 200, 500


@dataclass(frozen=True)
class Seen:
    """Whom to tell. Names are of replicas; `look` also gets the time of asking.

    `dead`: it refuses connections, or has not answered for several looks, nor does its health; `silent`: it says
    nothing of itself; `models`: its answer, empty if it has none to tell.
    """

    look: Callable[[str, Look, float], None]
    silent: Callable[[str], None]
    dead: Callable[[str], None]
    models: Callable[[str, bytes], bool]
    restored: Callable[[str], None]


class _Watched:
    """A usable replica, while it is looked at.

    `silent`: looks in a row without an answer; `told`: its models, without a doubt.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.client = EngineClient(endpoint.address)
        self.silent = 0
        self.told = False
        self.hurry = asyncio.Event()


class Looks:
    """A task for each usable replica, and one for each that is out."""

    def __init__(self, members: Members, seen: Seen) -> None:
        self._members = members
        self._seen = seen
        self._watched: dict[asyncio.Task[None], _Watched] = {}
        self._probed: dict[str, asyncio.Task[None]] = {}

    def follow(self) -> None:
        """The members have changed."""
        usable = set(self._members.usable)
        for task in [task for task, watched in self._watched.items() if watched.endpoint not in usable]:
            del self._watched[task]
            task.cancel()
        for endpoint in usable.difference(watched.endpoint for watched in self._watched.values()):
            watched = _Watched(endpoint)
            self._watched[asyncio.create_task(self._watch(watched))] = watched
        by_name = {endpoint.name: endpoint for endpoint in usable}
        for name in [name for name in self._probed if name not in self._members.ejected]:
            self._probed.pop(name).cancel()
        for name in self._members.ejected.difference(self._probed):
            self._probed[name] = asyncio.create_task(self._probe(by_name[name]))

    async def close(self) -> None:
        """End all tasks."""
        tasks = [*self._watched, *self._probed.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def soon(self, name: str) -> None:
        """It may have failed: look at it at once."""
        for watched in self._watched.values():
            if watched.endpoint.name == name:
                watched.hurry.set()

    async def _watch(self, watched: _Watched) -> None:
        name, loop, number = watched.endpoint.name, asyncio.get_running_loop(), 0
        due = loop.time()
        try:
            while True:
                try:
                    await self._round(watched, number)
                except Exception:
                    log.exception("a look at %s failed; it goes on", name)
                await asyncio.sleep(_PAUSE_SECONDS)
                due = max(due + PERIOD_SECONDS * (_phase(name) if number == 0 else 1.0), loop.time())
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout_at(due):
                        await watched.hurry.wait()
                watched.hurry.clear()
                number += 1
        finally:
            watched.client.close()

    async def _round(self, watched: _Watched, number: int) -> None:
        watched.silent = 0 if await self._look(watched) else watched.silent + 1
        if watched.silent == _SILENT_AFTER:
            self._seen.silent(watched.endpoint.name)
        if not watched.told or number % _MODELS_EVERY == 0:
            await self._ask_models(watched)

    async def _look(self, watched: _Watched) -> bool:
        name, client, asked_at = watched.endpoint.name, watched.client, time.monotonic()
        try:
            status, text = await client.get("/metrics", _MOST_BYTES)
            look = scrape.read(text) if status == _OK else None
        except EngineError as error:
            log.debug("no metrics from %s: %s", name, error)
            # Whoever answers /health serves, however slow, broken or long its metrics are.
            if (error.broken or watched.silent + 1 >= _SILENT_AFTER) and not await _is_healthy(client):
                self._seen.dead(name)
            return False
        except ValueError as error:
            log.debug("metrics of %s: %s", name, error)
            return False
        if look is None:
            return False
        self._seen.look(name, look, asked_at)
        return True

    async def _ask_models(self, watched: _Watched) -> None:
        name = watched.endpoint.name
        try:
            status, body = await watched.client.get("/v1/models")
        except EngineError as error:
            log.debug("no models from %s: %s", name, error)
            return
        if status < _SERVER_ERROR:
            watched.told = not self._seen.models(name, body if status == _OK else b"")

    async def _probe(self, endpoint: Endpoint) -> None:
        """Ask for its health until it answers."""
        delay, last = _PROBE_SECONDS
        client = EngineClient(endpoint.address, timeout=1.0)
        try:
            await asyncio.sleep(delay)
            while not await _is_healthy(client):
                delay = min(2 * delay, last)
                await asyncio.sleep(delay)
        finally:
            client.close()
        self._seen.restored(endpoint.name)


async def _is_healthy(client: EngineClient) -> bool:
    try:
        status, _ = await client.get("/health")
    except EngineError:
        return False
    return status == _OK


def _phase(name: str) -> float:
    """0..1: spreads the looks at many replicas over the second, and those of two routers alike."""
    return hashlib.blake2b(name.encode(), digest_size=1).digest()[0] / 256
