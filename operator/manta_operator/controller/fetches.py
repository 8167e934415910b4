"""Asks the pods that fetch their model how far they are, before a pass and without its turn. Never fails.

The answers stand in the memory of the deployment until the next pass takes them; `planning.fetching` says what of them
is told. A pod that gives no answer in time is one of which nothing is known.
"""

import asyncio
import time
from collections.abc import Sequence

import aiohttp

from manta_operator.api import names
from manta_operator.controller.children import Child
from manta_operator.controller.deployments import Entry
from manta_operator.controller.store import Store
from manta_operator.planning.fetching import TELL_SECONDS, read_fetch, told
from manta_operator.planning.observed import Fetch

ANSWER_SECONDS = 2.0
AGAIN_SECONDS = 10.0
"""How often it is asked; how often it is told is another matter."""
SOON_SECONDS = 2.0
"""The same of a pod that has just begun, and may not listen yet."""
_ASKED = 16
"""Pods of a deployment that are asked: they fetch the same, and wait for each other where they share a cache."""
_ANSWER_BYTES = 16384


class Fetches:
    """What the init containers of a deployment's pods say."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def ask(self, entry: Entry) -> None:
        """Ask the pods that fetch, if it is time, and remember what they say."""
        pods, memory = self._fetching(entry), entry.memory
        now = time.monotonic()
        if not pods:
            memory.fetches = None
        elif now >= memory.ask_again:
            answers, before = await _answers(pods), memory.fetches
            all_said = len(answers) == len(pods)
            memory.ask_again = now + (SOON_SECONDS if before is None and not all_said else AGAIN_SECONDS)
            if before is not None and now - before.at < TELL_SECONDS:  # one answer that does not come is no news
                answers = {pod.uid: before.fetches[pod.uid] for pod in pods if pod.uid in before.fetches} | answers
            memory.fetches = told(before, answers, now)

    def again_in(self, entry: Entry) -> float | None:
        """Return in how many seconds they are worth asking again; None if there are none."""
        return max(0.0, entry.memory.ask_again - time.monotonic()) if self._fetching(entry) else None

    def _fetching(self, entry: Entry) -> list[Child]:
        children = self._store.of(entry.key).values()
        found = [each for each in children if each.fetching and each.address and not self._store.going(each)]
        return sorted(found, key=lambda each: each.name)[:_ASKED]


async def _answers(pods: Sequence[Child]) -> dict[str, Fetch]:
    timeout = aiohttp.ClientTimeout(total=ANSWER_SECONDS)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        found = await asyncio.gather(*(_answer(session, pod.address) for pod in pods))
    return {pod.uid: fetch for pod, fetch in zip(pods, found, strict=True) if fetch is not None}


async def _answer(session: aiohttp.ClientSession, address: str) -> Fetch | None:
    host = f"[{address}]" if ":" in address else address
    try:
        async with session.get(f"http://{host}:{names.CONTROL_PORT}/fetch", allow_redirects=False) as response:
            if response.status != 200 or (response.content_length or 0) > _ANSWER_BYTES:
                return None
            return read_fetch(await response.json(content_type=None))
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError):
        return None
