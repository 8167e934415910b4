"""Asks the heads of the replicas which LoRA adapters they have, beside the passes and without their turns. Never fails.

The answers stand in the memory of the deployment until the next pass takes them; `planning.adapters` says what of them
is told. Whoever changes the list wants to know soon whether it holds, so the heads are asked often until all of it is
loaded everywhere, and seldom then: what happens to a pod brings a pass, and each pass asks if it is time.
"""

import asyncio
import logging
import time

from manta_operator.api.printable import printable
from manta_operator.controller.asking import Asker, heads
from manta_operator.controller.children import Child
from manta_operator.controller.deployments import Entry, Object
from manta_operator.controller.store import Store
from manta_operator.planning.adapters import Answers, hear, read_answers

log = logging.getLogger(__name__)

AGAIN_SECONDS = 5.0
"""How often heads are asked while something is still to be loaded."""
SETTLED_SECONDS = 30.0
"""The same when everything is."""
_ASKED = 256
"""Heads of a deployment that are asked; of further ones it is said that they do not answer."""
_ANSWER_BYTES = 524288
_KEY_LIMIT = 4096


class Adapters:
    """What the heads of the deployments say of their adapters."""

    def __init__(self, store: Store, asker: Asker) -> None:
        self._store, self._asker = store, asker

    async def ask(self, entry: Entry) -> bool:
        """Ask the heads, if it is time, and return whether what they say is news. Never raises."""
        try:
            return await self._ask(entry)
        except Exception:
            entry.memory.adapters_again = time.monotonic() + AGAIN_SECONDS
            log.exception("%s/%s: a bug; which adapters are loaded is not known", *entry.key)
            return False

    async def keep_asking(self, entry: Entry) -> None:
        """Ask whenever it is time until there is news, and then wake the loop. Ends if there is nobody to ask."""
        while wanted(entry.body) and self._heads(entry):
            await asyncio.sleep(max(0.0, entry.memory.adapters_again - time.monotonic()))
            if await self.ask(entry):
                entry.flag.set()
                return

    async def _ask(self, entry: Entry) -> bool:
        pods, names, memory = self._heads(entry), wanted(entry.body), entry.memory
        before, now = memory.adapters, time.monotonic()
        if not names or not pods:
            memory.adapters, memory.adapters_asked = None, ()
            return before is not None
        who = (*names, *(pod.uid for pod in pods))
        if now < memory.adapters_again and who == memory.adapters_asked:
            return False
        memory.adapters_again, memory.adapters_asked = now + AGAIN_SECONDS, who  # whatever comes of it
        documents = await self._asker.ask(pods, "/adapters", _ANSWER_BYTES)
        found = {uid: read_answers(document) for uid, document in documents.items()}
        answers = {uid: each for uid, each in found.items() if each is not None}
        memory.adapters = hear(before, answers, [pod.uid for pod in pods], now)
        if len(answers) == len(pods) and all(_settled(each, names) for each in answers.values()):
            memory.adapters_again = now + SETTLED_SECONDS
        return before is None or before.answers != memory.adapters.answers

    def _heads(self, entry: Entry) -> list[Child]:
        return heads(self._store, entry.key)[:_ASKED]


def wanted(body: Object) -> tuple[str, ...]:
    """Return what tells one list of adapters from another, one text an adapter; the body need not be admitted."""
    try:
        listed = body["spec"]["model"].get("adapters") or ()
        return tuple(_key(each["name"], each["uri"], each.get("revision") or "") for each in listed)
    except (KeyError, TypeError, AttributeError):  # of another version of the CRD
        return ()


def _key(name: str, uri: str, revision: str) -> str:
    """Return what is the same for what the spec asks for and for how an answer says it."""
    return printable(f"{name} {uri} {revision}", _KEY_LIMIT)


def _settled(answers: Answers, names: tuple[str, ...]) -> bool:
    have = {_key(name, each.uri, each.revision) for name, each in answers.items() if each.state == "Loaded"}
    return have == set(names) and len(answers) == len(names)
