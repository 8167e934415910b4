"""LoRA adapters: which are wanted, what the head of each replica says of them, and what the status says of that. Pure.

The list is in a ConfigMap that engines read while they run, so a change of it is no rollout and the plan does nothing
about it: here is only told how far the replicas are. `controller.adapters` asks the heads (GET /adapters); who is not
asked, or does not answer, has a state that is not known. None of it touches whether the model itself is ready.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from manta_operator.api.adapters import MOST_REPLICAS_TOLD, AdapterSpec, AdapterState, LoraSpec
from manta_operator.api.models import LLMDeploymentSpec
from manta_operator.api.printable import printable
from manta_operator.planning.fit import gib
from manta_operator.planning.observed import Observed, ObservedGroup

TELL_SECONDS = 30.0
"""How often a fetch of an adapter that goes on is told anew; and how long one answer that does not come is no news."""
_WORDS_LIMIT = 256
"""Characters of a message that are kept: there may be many."""
_NAME_LIMIT = 1024
_ENTRIES = 256
"""Adapters that are read of one answer: those that are wanted, and some that are not any more."""
_ROWS = 256
"""Replicas of all adapters together that a status names."""
_SHOWN = 3
_STATES: tuple[AdapterState, ...] = get_args(AdapterState)
_ORDER: tuple[AdapterState, ...] = ("Failed", "Unknown", "Waiting", "Fetching", "Loading", "Unloading", "Loaded")
"""What a person wants to see first."""
_NEW_LIST = "a kubelet brings it within about a minute"


@dataclass(frozen=True)
class Answer:
    """What one head says of one adapter."""

    uri: str
    revision: str
    """Empty: none."""
    state: AdapterState
    message: str = ""
    bytes: int = 0
    total: int = 0

    @property
    def words(self) -> str:
        """What it says, or how far its fetch is."""
        if self.message or self.state != "Fetching" or not self.total:
            return self.message
        return f"{min(100, 100 * self.bytes // self.total)} % of {gib(self.total)} are fetched"


Answers = Mapping[str, Answer]
"""By the name of the adapter."""


@dataclass(frozen=True)
class Heard:
    """What is told of the answers, by the uid of the pod.

    `changed` and `full` are seconds of any clock: when it last became another, and when all who were asked answered.
    """

    answers: Mapping[str, Answers]
    changed: float
    full: float


@dataclass(frozen=True)
class Row:
    """One replica and one adapter."""

    replica: int
    pod: str
    state: AdapterState
    message: str = ""


@dataclass(frozen=True)
class Standing:
    """How one wanted adapter is on every replica, those in trouble first."""

    name: str
    rows: tuple[Row, ...]

    @property
    def loaded(self) -> int:
        """Replicas that answer for it."""
        return sum(row.state == "Loaded" for row in self.rows)


@dataclass(frozen=True)
class Verdict:
    """What the condition AdaptersLoaded says."""

    status: Literal["True", "False", "Unknown"]
    reason: str
    message: str


def lora_of(spec: LLMDeploymentSpec) -> LoraSpec | None:
    """Return what the engines keep free for adapters; None if they take none."""
    return spec.engine.lora or (LoraSpec() if spec.model.adapters else None)


def read_answers(document: Any) -> Answers | None:
    """Read the answer of GET /adapters; None if it is none."""
    try:
        listed = document["adapters"][:_ENTRIES]
        return {printable(str(entry["name"]), _NAME_LIMIT): _answer(entry) for entry in listed}
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError):
        return None


def _answer(entry: Mapping[str, Any]) -> Answer:
    state = str(entry["state"])
    known: AdapterState = next((each for each in _STATES if each == state), "Unknown")
    return Answer(
        uri=printable(str(entry["uri"]), _NAME_LIMIT),
        revision=printable(str(entry.get("revision") or ""), _NAME_LIMIT),
        state=known,
        message=printable(str(entry.get("message") or ""), _WORDS_LIMIT),
        bytes=_size(entry.get("bytes")),
        total=_size(entry.get("total")),
    )


def _size(value: Any) -> int:
    return min(max(0, int(value or 0)), 2**63)


def hear(before: Heard | None, asked: Mapping[str, Answers], pods: Collection[str], now: float) -> Heard:
    """Return what is told from now on: what was told before, unless that has become old or wrong.

    Args:
        before: What was told.
        asked: What those say who answered, by uid.
        pods: Who was asked.
        now: Seconds of the clock of `before`.
    """
    answers = dict(asked)
    complete = all(uid in asked for uid in pods)
    if before is not None and now - before.full < TELL_SECONDS:
        answers = {uid: before.answers[uid] for uid in pods if uid in before.answers} | answers
    full = now if complete or before is None else before.full
    if before is None or _is_news(before, answers, now):
        return Heard(answers, now, full)
    return Heard(before.answers, before.changed, full)


def _is_news(before: Heard, answers: Mapping[str, Answers], now: float) -> bool:
    if before.answers == answers:
        return False
    return now - before.changed >= TELL_SECONDS or _gist(before.answers) != _gist(answers)


def _gist(answers: Mapping[str, Answers]) -> dict[str, dict[str, tuple[str, ...]]]:
    """Return what is news at once: all but how far a fetch is."""
    return {
        uid: {name: (each.uri, each.revision, each.state, each.message) for name, each in listed.items()}
        for uid, listed in answers.items()
    }


def standings(spec: LLMDeploymentSpec, observed: Observed, heard: Heard | None, revision: str) -> tuple[Standing, ...]:
    """Return how each wanted adapter is on the replicas of the newest revision, and on older ones that answer."""
    answers = heard.answers if heard else {}
    heads = [(group, _uid(group)) for group in observed.groups]
    judged = [(group, answers.get(uid)) for group, uid in heads if group.revision == revision or uid in answers]
    found = []
    for adapter in spec.model.adapters:
        rows = [_until_replaced(_row(group, told, adapter), group, revision) for group, told in judged]
        found.append(Standing(adapter.name, tuple(sorted(rows, key=_trouble_first))))
    return tuple(found)


def _trouble_first(row: Row) -> tuple[int, int, str]:
    return (_ORDER.index(row.state), row.replica, row.pod)


def _uid(group: ObservedGroup) -> str:
    return next((pod.uid for pod in group.members if pod.name == f"{group.name}-0"), "")


def _until_replaced(row: Row, group: ObservedGroup, newest: str) -> Row:
    """What fails on a replica of before may be what its pods have no mount or no room for, so nobody needs to act."""
    if row.state != "Failed" or group.revision == newest:
        return row
    return replace(row, state="Waiting", message=f"{row.message}; the rollout replaces this replica")


def _row(group: ObservedGroup, told: Answers | None, adapter: AdapterSpec) -> Row:
    head = f"{group.name}-0"
    if told is None:
        serves = any(pod.name == head and pod.ready for pod in group.members)
        why = "it does not answer the operator" if serves else "the replica does not serve yet"
        return Row(group.index, head, "Unknown", why)
    answer = told.get(adapter.name)
    if answer is None:
        return Row(group.index, head, "Waiting", f"the pod has not seen the list that names it: {_NEW_LIST}")
    wanted = [printable(text, _NAME_LIMIT) for text in (adapter.uri, adapter.revision or "")]  # as answers are read
    if [answer.uri, answer.revision] != wanted:
        former = f"{answer.uri} {answer.revision}".strip()
        return Row(group.index, head, "Waiting", f"the pod still has {former}, not the new list: {_NEW_LIST}")
    return Row(group.index, head, answer.state, answer.words)


def adapters_status(found: Sequence[Standing]) -> list[dict[str, Any]]:
    """Return `status.adapters`."""
    most = max(1, min(MOST_REPLICAS_TOLD, _ROWS // max(1, len(found))))
    return [
        {"name": each.name, "loaded": each.loaded, "replicas": [_shown(row) for row in each.rows[:most]]}
        for each in found
    ]


def _shown(row: Row) -> dict[str, Any]:
    said = {"message": row.message[:_WORDS_LIMIT]} if row.message else {}
    return {"replica": row.replica, "pod": row.pod, "state": row.state, **said}


def verdict(found: Sequence[Standing]) -> Verdict:
    """Judge whether every wanted adapter is loaded on every replica; there is at least one."""
    replicas = len(found[0].rows)
    if not replicas:
        return Verdict("Unknown", "NoReplica", "there is no replica that could load the adapters")
    whole = sum(each.loaded == replicas for each in found)
    on_all = f"{whole} of {_count(len(found), 'adapter')} loaded on all of {_count(replicas, 'replica')}"
    if whole == len(found):
        return Verdict("True", "AllLoaded", on_all)
    failed = _said(found, "Failed")
    if failed:
        message = f"{_some(failed)}; {on_all}, and the model itself is not affected"
        return Verdict("False", "AdapterFailed", message)
    under_way = [text for state in ("Waiting", "Fetching", "Loading", "Unloading") for text in _said(found, state)]
    if under_way:
        return Verdict("False", "Loading", f"{_some(under_way)}; {on_all}")
    return Verdict("Unknown", "NotKnown", f"{_some(_said(found, 'Unknown'))}; {on_all}")


def _said(found: Sequence[Standing], state: str) -> list[str]:
    """Return what is said of each adapter that has a replica in that state, of the first of them."""
    texts = []
    for each in found:
        rows = [row for row in each.rows if row.state == state]
        if rows:
            more = f" (and {len(rows) - 1} more)" if len(rows) > 1 else ""
            words = f": {rows[0].message}" if rows[0].message else ""
            texts.append(f"{each.name} is {state} on pod {rows[0].pod}{more}{words}")
    return texts


def _some(sentences: list[str]) -> str:
    more = len(sentences) - _SHOWN
    return "; ".join([*sentences[:_SHOWN], *([f"and {more} more"] if more > 0 else [])])


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
