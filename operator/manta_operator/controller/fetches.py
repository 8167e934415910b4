"""Asks the pods that fetch their model how far they are, beside the passes and without their turns. Never fails.

The answers stand in the memory of the deployment until the next pass takes them; `planning.fetching` says what of them
is told, and only news is worth a pass. What answers is a container of somebody else's: it may say anything, at any
length. A pod that gives no answer in time is one of which nothing is known.
"""

import time
from collections.abc import Sequence

from manta_operator.controller.children import Child
from manta_operator.controller.deployments import Entry
from manta_operator.controller.inquiry import Inquiry
from manta_operator.planning.fetching import TELL_SECONDS, read_fetch, told
from manta_operator.planning.observed import Fetch

AGAIN_SECONDS = 10.0
"""How often it is asked; how often it is told is another matter."""
SOON_SECONDS = 2.0
"""The same of a pod that has just begun, and may not listen yet."""
_ASKED = 16
"""Pods of a deployment that are asked: they fetch the same, and wait for each other where they share a cache."""
_ANSWER_BYTES = 16384


class Fetches(Inquiry):
    """What the init containers of the deployments' pods say."""

    path = "/fetch"
    unknown = "how far its fetches are"

    def _anybody(self, entry: Entry) -> bool:
        return bool(self._fetching(entry))

    async def _ask(self, entry: Entry) -> bool:
        pods, memory = self._fetching(entry), entry.memory
        now, before = time.monotonic(), memory.fetches
        if not pods:
            memory.fetches = None
            return False
        if now < self._again_at(entry):
            return False
        self._put_off(entry, AGAIN_SECONDS)  # whatever comes of it
        answers = await self._answers(pods)
        if before is None and len(answers) < len(pods):
            self._put_off(entry, SOON_SECONDS)
        if before is not None and now - before.at < TELL_SECONDS:  # one answer that does not come is no news
            answers = {pod.uid: before.fetches[pod.uid] for pod in pods if pod.uid in before.fetches} | answers
        memory.fetches = told(before, answers, now)
        return before is None or before.fetches != memory.fetches.fetches

    async def _answers(self, pods: Sequence[Child]) -> dict[str, Fetch]:
        documents = await self._asker.ask(pods, self.path, _ANSWER_BYTES)
        found = {uid: read_fetch(document) for uid, document in documents.items()}
        return {uid: fetch for uid, fetch in found.items() if fetch is not None}

    def _fetching(self, entry: Entry) -> list[Child]:
        children = self._store.of(entry.key).values()
        found = [each for each in children if each.fetching and each.address and not self._store.going(each)]
        return sorted(found, key=lambda each: each.name)[:_ASKED]
