"""Asks the heads what their engines have chosen, beside the passes and without their turns. Never fails.

An engine chooses while it starts, so a head is asked once when it is ready, and again when its container was restarted.
The answers stand in the memory of the deployment until the next pass takes them; `planning.engine_facts` says what of
them is told.
"""

import time

from manta_operator.controller.asking import heads
from manta_operator.controller.children import Child
from manta_operator.controller.deployments import Entry
from manta_operator.controller.inquiry import Inquiry
from manta_operator.planning.engine_facts import EngineFacts, read_facts
from manta_operator.planning.observe_pods import observe_pod

AGAIN_SECONDS = 10.0
"""When a head that does not answer is asked again; each time it waits twice as long."""
SELDOM_SECONDS = 300.0
"""The longest: a runtime from before /facts never answers."""
_ASKED = 64
"""Heads of a deployment that are asked; replicas of one revision say the same."""
_ANSWER_BYTES = 16384


class Engines(Inquiry):
    """What the engines of the deployments have chosen."""

    path = "/facts"
    unknown = "what its engines have chosen"

    def _anybody(self, entry: Entry) -> bool:
        return bool(self._silent(entry))

    async def _ask(self, entry: Entry) -> bool:
        memory, now = entry.memory, time.monotonic()
        there = {pod.uid for pod in heads(self._store, entry.key)}
        memory.engines = {uid: known for uid, known in memory.engines.items() if uid in there}
        silent = self._silent(entry)
        who = frozenset(f"{pod.uid} {restarts}" for pod, restarts in silent)
        if not silent or (now < self._again_at(entry) and who <= memory.engines_asked):
            return False
        pause = min(2 * memory.engines_pause, SELDOM_SECONDS) if who <= memory.engines_asked else AGAIN_SECONDS
        memory.engines_pause, memory.engines_asked = pause, who
        self._put_off(entry, pause)  # whatever comes of it
        documents = await self._asker.ask([pod for pod, _ in silent], self.path, _ANSWER_BYTES)
        news = False
        for pod, restarts in silent:
            facts = read_facts(documents.get(pod.uid))
            if facts is not None:
                news |= told(memory.engines).get(pod.uid, EngineFacts()) != facts
                memory.engines[pod.uid] = (restarts, facts)
        return news

    def _silent(self, entry: Entry) -> list[tuple[Child, int]]:
        """Return the heads that are ready and have not said what they chose since their containers started."""
        found = []
        for pod in heads(self._store, entry.key)[:_ASKED]:
            seen = observe_pod(pod.body(), time.time(), frozenset())
            if seen.ready and entry.memory.engines.get(pod.uid, (-1, None))[0] != seen.restarts:
                found.append((pod, seen.restarts))
        return found


def told(known: dict[str, tuple[int, EngineFacts]]) -> dict[str, EngineFacts]:
    """Return what heads said, by the uid of the pod."""
    return {uid: facts for uid, (_, facts) in known.items()}
