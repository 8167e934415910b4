"""Asks the heads of the replicas which LoRA adapters they have, beside the passes and without their turns. Never fails.

The answers stand in the memory of the deployment until the next pass takes them; `planning.adapters` says what of them
is told. Whoever changes the list wants to know soon whether it holds, so the heads are asked often until all of it is
loaded everywhere, and seldom then: what happens to a pod brings a pass, and each pass asks if it is time.
"""

import time

from manta_operator.api.printable import printable
from manta_operator.controller.asking import heads
from manta_operator.controller.children import Child
from manta_operator.controller.deployments import Entry, Object
from manta_operator.controller.inquiry import Inquiry
from manta_operator.planning.adapters import Answers, hear, read_answers

AGAIN_SECONDS = 5.0
"""How often heads are asked while something is still to be loaded."""
SETTLED_SECONDS = 30.0
"""The same when everything is."""
_ASKED = 256
"""Heads of a deployment that are asked; of further ones it is said that they do not answer."""
_ANSWER_BYTES = 524288
_KEY_LIMIT = 4096


class Adapters(Inquiry):
    """What the heads of the deployments say of their adapters."""

    path = "/adapters"
    unknown = "which adapters are loaded"

    def _anybody(self, entry: Entry) -> bool:
        return bool(wanted(entry.body) and self._heads(entry))

    async def _ask(self, entry: Entry) -> bool:
        pods, names, memory = self._heads(entry), wanted(entry.body), entry.memory
        before, now = memory.adapters, time.monotonic()
        if not names or not pods:
            memory.adapters, memory.adapters_asked = None, ()
            return before is not None
        who = (*names, *(pod.uid for pod in pods))
        if now < self._again_at(entry) and who == memory.adapters_asked:
            return False
        memory.adapters_asked = who
        self._put_off(entry, AGAIN_SECONDS)  # whatever comes of it
        documents = await self._asker.ask(pods, self.path, _ANSWER_BYTES)
        found = {uid: read_answers(document) for uid, document in documents.items()}
        answers = {uid: each for uid, each in found.items() if each is not None}
        memory.adapters = hear(before, answers, [pod.uid for pod in pods], now)
        if len(answers) == len(pods) and all(_settled(each, names) for each in answers.values()):
            self._put_off(entry, SETTLED_SECONDS)
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
