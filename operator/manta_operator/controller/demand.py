"""Asks the routers of deployments what they see of the demand, beside the passes. Never fails: no answer is None.

    ask    what they count and see now: every look of the autoscaler
    hold   the same from one router, as soon as somebody waits there: while no replica is asked for

Of all deployments together no more than MOST_A_SECOND questions are asked; where there are more routers, each is asked
less often. What answers is a container of somebody else's: `scaling/reading.py` says what of it counts.
"""

import asyncio
import json
import resource
import time
from collections.abc import Sequence

import aiohttp

from manta_operator.api import names
from manta_operator.controller.answers import read_body
from manta_operator.controller.children import Child, Key
from manta_operator.controller.recent import Recent
from manta_operator.controller.store import Store
from manta_operator.scaling.reading import Document, read
from manta_operator.scaling.settings import LOOK_SECONDS

MOST_A_SECOND = 200
ANSWER_SECONDS = 2.0
HELD_SECONDS = 13.0
"""The router answers after 10 s at the latest."""
MOST_HELD = min(10 * MOST_A_SECOND, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 4)
"""Questions that wait for somebody to come, 10 s each, on connections of their own. Other routers wait for a turn."""
_CONNECTIONS = 128
_BYTES = 4 * 2**20
_BYTES_OF_NONE, _BYTES_OF_ENGINE = 2**16, 2**13
"""Of a document without engines, and of each engine with its histograms; several times what routers say."""
_BYTES_AT_ONCE = 2**16
"""A longer one is read by a thread: others want the loop, too."""
_OLD_SECONDS = 60.0
"""How long it is remembered that a router has no such page."""


def look_seconds(routers: int) -> float:
    """Return how long to wait between two looks at a deployment.

    Args:
        routers: Of all deployments that are looked at.
    """
    return max(LOOK_SECONDS, routers / MOST_A_SECOND)


def most_bytes(replicas: int) -> int:
    """Return how long a document may be where there are so many replicas at most, and as many of a rollout."""
    return min(_BYTES, _BYTES_OF_NONE + 2 * replicas * _BYTES_OF_ENGINE)


class Routers:
    """The connections to the pickers of all deployments."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._session: aiohttp.ClientSession | None = None
        self._turns = asyncio.Semaphore(MOST_HELD)
        self._strange: Recent[str] = Recent(_OLD_SECONDS)

    async def close(self) -> None:
        """Close what connects to the pods."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def pods(self, key: Key) -> list[Child]:
        """Return the router pods of a deployment that have an address, by name; those that go may hold requests yet."""
        children = self._store.of(key).values()
        found = [each for each in children if each.component == names.COMPONENT_ROUTER and each.address]
        return sorted(found, key=lambda each: each.name)

    def going(self, pods: Sequence[Child]) -> frozenset[str]:
        """Return which of them are on their way out, by uid: nobody waits for their answers."""
        return frozenset(pod.uid for pod in pods if self._store.going(pod))

    async def ask(self, pods: Sequence[Child], replicas: int = 1) -> dict[str, Document | None]:
        """Return what each of these says now, by uid."""
        limit = most_bytes(replicas)
        found = await asyncio.gather(*(self._get(pod, "/demand", ANSWER_SECONDS, limit) for pod in pods))
        return {pod.uid: document for pod, document in zip(pods, found, strict=True)}

    def old(self, pod: Child) -> bool:
        """Say whether a router that is silent answered lately that it has no such page: its image is too old."""
        at = self._strange.when(pod.uid)
        return at > 0 and time.monotonic() - at < _OLD_SECONDS

    async def hold(self, pod: Child, replicas: int = 1, patience: float = 0.0) -> Document | None:
        """Return what one says as soon as a request is held there, or after a while.

        Where too many are asked it waits for its turn, the first who came first, for `patience` seconds. At once if
        that was in vain, and if it does not take such a question: others may have all of its places.
        """
        said, limit = None, most_bytes(replicas)
        if await self._turn(patience):
            try:
                said = await self._get(pod, "/demand/held", HELD_SECONDS, limit)
            finally:
                self._turns.release()
        return said or await self._get(pod, "/demand", ANSWER_SECONDS, limit)

    async def _turn(self, patience: float) -> bool:
        try:
            async with asyncio.timeout(patience):
                await self._turns.acquire()
        except TimeoutError:
            return False
        return True

    async def _get(self, pod: Child, path: str, seconds: float, limit: int) -> Document | None:
        host = f"[{pod.address}]" if ":" in pod.address else pod.address
        url, timeout = f"http://{host}:{names.PICKER_PORT}{path}", aiohttp.ClientTimeout(total=seconds)
        try:
            async with self._connected().get(url, allow_redirects=False, timeout=timeout) as response:
                if response.status == 404:
                    self._strange.note(pod.uid)
                if response.status != 200:
                    return None
                body = await read_body(response, limit)
            whose = "/".join(pod.key)
            return _read(body, whose) if len(body) <= _BYTES_AT_ONCE else await asyncio.to_thread(_read, body, whose)
        except Exception:  # noqa: BLE001 - a pod can answer in more ways than there are names for, and none may end a loop
            return None

    def _connected(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=_CONNECTIONS + MOST_HELD, force_close=True),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,  # what is small on the wire need not be small
            )
        return self._session


def _read(body: bytes, whose: str) -> Document | None:
    """Raises ValueError and RecursionError for what is no JSON."""
    return read(json.loads(body), whose)
