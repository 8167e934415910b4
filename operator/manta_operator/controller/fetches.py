"""Asks the pods that fetch their model how far they are, beside the passes and without their turns. Never fails.

The answers stand in the memory of the deployment until the next pass takes them; `planning.fetching` says what of them
is told, and only news is worth a pass. What answers is a container of somebody else's: it may say anything, at any
length. A pod that gives no answer in time is one of which nothing is known.
"""

import asyncio
import logging
import time
from collections.abc import Sequence

import aiohttp

from manta_operator.api import names
from manta_operator.controller.answers import read_json
from manta_operator.controller.children import Child
from manta_operator.controller.deployments import Entry
from manta_operator.controller.store import Store
from manta_operator.planning.fetching import TELL_SECONDS, read_fetch, told
from manta_operator.planning.observed import Fetch

log = logging.getLogger(__name__)

ANSWER_SECONDS = 2.0
AGAIN_SECONDS = 10.0
"""How often it is asked; how often it is told is another matter."""
SOON_SECONDS = 2.0
"""The same of a pod that has just begun, and may not listen yet."""
_ASKED = 16
"""Pods of a deployment that are asked: they fetch the same, and wait for each other where they share a cache."""
_ANSWER_BYTES = 16384
_CONNECTIONS = 256
"""Pods of all deployments that are asked at once."""


class Fetches:
    """What the init containers of the deployments' pods say."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Close what connects to the pods."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def ask(self, entry: Entry) -> bool:
        """Ask the pods that fetch, if it is time, and return whether what they say is news. Never raises."""
        try:
            return await self._ask(entry)
        except Exception:
            log.exception("%s/%s: a bug; how far its fetches are is not known", *entry.key)
            return False

    async def keep_asking(self, entry: Entry) -> None:
        """Ask whenever it is time until there is news, and then wake the loop. Ends if nothing is fetched."""
        while (pause := self._again_in(entry)) is not None:
            await asyncio.sleep(pause)
            if await self.ask(entry):
                entry.flag.set()
                return

    def _again_in(self, entry: Entry) -> float | None:
        """Return in how many seconds they are worth asking again; None if there are none."""
        return max(0.0, entry.memory.ask_again - time.monotonic()) if self._fetching(entry) else None

    async def _ask(self, entry: Entry) -> bool:
        pods, memory = self._fetching(entry), entry.memory
        now, before = time.monotonic(), memory.fetches
        if not pods:
            memory.fetches = None
            return False
        if now < memory.ask_again:
            return False
        memory.ask_again = now + AGAIN_SECONDS  # whatever comes of it
        answers = await self._answers(pods)
        if before is None and len(answers) < len(pods):
            memory.ask_again = now + SOON_SECONDS
        if before is not None and now - before.at < TELL_SECONDS:  # one answer that does not come is no news
            answers = {pod.uid: before.fetches[pod.uid] for pod in pods if pod.uid in before.fetches} | answers
        memory.fetches = told(before, answers, now)
        return before is None or before.fetches != memory.fetches.fetches

    async def _answers(self, pods: Sequence[Child]) -> dict[str, Fetch]:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=ANSWER_SECONDS),
                connector=aiohttp.TCPConnector(limit=_CONNECTIONS, force_close=True),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,  # what is small on the wire need not be small
            )
        found = await asyncio.gather(*(_answer(self._session, pod.address) for pod in pods))
        return {pod.uid: fetch for pod, fetch in zip(pods, found, strict=True) if fetch is not None}

    def _fetching(self, entry: Entry) -> list[Child]:
        children = self._store.of(entry.key).values()
        found = [each for each in children if each.fetching and each.address and not self._store.going(each)]
        return sorted(found, key=lambda each: each.name)[:_ASKED]


async def _answer(session: aiohttp.ClientSession, address: str) -> Fetch | None:
    host = f"[{address}]" if ":" in address else address
    try:
        async with session.get(f"http://{host}:{names.CONTROL_PORT}/fetch", allow_redirects=False) as response:
            return read_fetch(await read_json(response, _ANSWER_BYTES)) if response.status == 200 else None
    except Exception:  # noqa: BLE001 - a pod can answer in more ways than there are names for, and none may end a loop
        return None
