"""Asks the pods that fetch their model how far they are, beside the passes and without their turns. Never fails.

The answers stand in the memory of the deployment until the next pass takes them; `planning.fetching` says what of them
is told, and only news is worth a pass. What answers is a container of somebody else's: it may say anything, at any
length. A pod that gives no answer in time is one of which nothing is known.
"""

import asyncio
import logging
import time
from collections.abc import Sequence

from manta_operator.controller.asking import Asker
from manta_operator.controller.children import Child
from manta_operator.controller.deployments import Entry
from manta_operator.controller.store import Store
from manta_operator.planning.fetching import TELL_SECONDS, read_fetch, told
from manta_operator.planning.observed import Fetch

log = logging.getLogger(__name__)

AGAIN_SECONDS = 10.0
"""How often it is asked; how often it is told is another matter."""
SOON_SECONDS = 2.0
"""The same of a pod that has just begun, and may not listen yet."""
_ASKED = 16
"""Pods of a deployment that are asked: they fetch the same, and wait for each other where they share a cache."""
_ANSWER_BYTES = 16384


class Fetches:
    """What the init containers of the deployments' pods say."""

    def __init__(self, store: Store, asker: Asker) -> None:
        self._store, self._asker = store, asker

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
        documents = await self._asker.ask(pods, "/fetch", _ANSWER_BYTES)
        found = {uid: read_fetch(document) for uid, document in documents.items()}
        return {uid: fetch for uid, fetch in found.items() if fetch is not None}

    def _fetching(self, entry: Entry) -> list[Child]:
        children = self._store.of(entry.key).values()
        found = [each for each in children if each.fetching and each.address and not self._store.going(each)]
        return sorted(found, key=lambda each: each.name)[:_ASKED]
