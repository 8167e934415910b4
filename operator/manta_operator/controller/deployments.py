"""The LLMDeployments this process knows: their newest body, what is remembered of each, and the flag that wakes it."""

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime
from sys import intern
from typing import Any

from manta_operator.controller.applier import Applied
from manta_operator.controller.children import Key
from manta_operator.controller.scale_memory import Scale
from manta_operator.planning.adapters import Heard
from manta_operator.planning.engine_facts import EngineFacts
from manta_operator.planning.fetching import Told
from manta_operator.planning.rollout_words import Decision

Object = dict[str, Any]


@dataclass(slots=True)
class Memory:
    """What is remembered between passes, so that nothing is written or said twice; losing it costs one full pass."""

    applied: Applied = field(default_factory=Applied)
    token: bool = False
    """Whether the groups' token was made, or found made, by this process."""
    said: tuple[str, ...] = ()
    decided: tuple[Decision, ...] = ()
    """Decisions that no status tells yet."""
    complaints: tuple[str, ...] = ()
    status: Object | None = None
    """What was written last, until the watch shows it; `version` is its resourceVersion."""
    version: int = 0
    failed: int = 0
    """Passes in a row that did not get everything done."""
    fetches: Told | None = None
    """How far the pods are that fetch the model."""
    again: dict[str, float] = field(default_factory=dict)
    """When the pods are to be asked again, in monotonic seconds, by what they are asked."""
    engines: dict[str, tuple[int, EngineFacts]] = field(default_factory=dict)
    """What heads said that their engines chose, by the uid of the pod, with how often its container had restarted."""
    engines_asked: frozenset[str] = frozenset()
    """Who was asked last."""
    engines_pause: float = 0.0
    """Seconds between the last two times that the same were asked in vain."""
    adapters: Heard | None = None
    """Which adapters the heads have."""
    adapters_asked: tuple[str, ...] = ()
    """About which adapters they were asked, and who they were."""
    scale: Scale | None = None
    """Of the autoscaler; None: spec.replicas rules."""
    step_in: float | None = None
    """Seconds from the last pass until fewer replicas stay, after spec.autoscaling was left out; None: it was not."""


@dataclass(slots=True)
class Entry:
    """One LLMDeployment, until it is gone."""

    body: Object
    memory: Memory = field(default_factory=Memory)
    flag: asyncio.Event = field(default_factory=asyncio.Event)
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held by a pass."""
    leaving: bool = False
    """It is being deleted, or gone: no pass is made any more."""
    orphaning: bool = False
    """It was deleted with `--cascade=orphan`."""
    scale_fields: tuple[Object, ...] = ()
    """Of metadata.managedFields, those who last wrote the number of replicas by the scale subresource."""

    @property
    def key(self) -> Key:
        """Namespace and name."""
        return (self.body["metadata"]["namespace"], self.body["metadata"]["name"])

    @property
    def uid(self) -> str:
        """Which of all that have had or will have this name."""
        return str(self.body["metadata"]["uid"])

    def end(self) -> None:
        """Have no pass made over it any more."""
        self.leaving = True
        self.flag.set()

    def status(self) -> Object:
        """Return the status as it stands: what we wrote, where the watch has not shown it yet, or anything newer."""
        memory = self.memory
        if memory.status is not None and version_of(self.body) < memory.version:
            return memory.status
        memory.status = None
        return self.body.get("status") or {}


class Deployments:
    """Entries by namespace and name."""

    def __init__(self) -> None:
        self._entries: dict[Key, Entry] = {}

    def get(self, key: Key) -> Entry | None:
        """Return the entry of an LLMDeployment."""
        return self._entries.get(key)

    def see(self, body: Object, writers: tuple[Object, ...] = ()) -> Entry:
        """Take in a body that a watch has brought, and wake the daemon if it says anything new.

        kopf brings the news of each uid in their order, but those of a predecessor may come after its successor.

        Args:
            body: Of the LLMDeployment.
            writers: What `scale_writers` found in it.
        """
        new = Entry(body, scale_fields=writers)
        old = self._entries.get(new.key)
        if old is not None and old.uid != new.uid and version_of(body) < version_of(old.body):
            return new
        if old is None or old.uid != new.uid:
            if old is not None:
                old.end()
            new.flag.set()
            self._entries[new.key] = new
            return new
        before, shown = old.body, old.status()
        owners = [each["manager"] for each in old.scale_fields]
        old.body, old.scale_fields = body, _dated(old, body, writers)
        if (
            owners != [each["manager"] for each in writers]
            or _essence(before) != _essence(body)
            or old.status() != shown
        ):
            old.flag.set()
        return old

    def forget(self, body: Object) -> None:
        """Drop an LLMDeployment that is gone, unless another of its name has come meanwhile."""
        gone = Entry(body)
        held = self._entries.get(gone.key)
        if held is not None and held.uid == gone.uid:
            held.end()
            del self._entries[gone.key]

    def wake(self, key: Key) -> None:
        """Have a pass made over an LLMDeployment as soon as none is under way."""
        entry = self._entries.get(key)
        if entry is not None:  # else its children were there first, or are still going
            entry.flag.set()

    def wake_all(self) -> None:
        """Have a pass made over every one: something has changed that concerns them all."""
        for entry in self._entries.values():
            entry.flag.set()


def version_of(body: Object) -> int:
    """Return the resourceVersion as a number, 0 if it is none."""
    version = body["metadata"].get("resourceVersion", "")
    return int(version) if version.isdecimal() else 0


def scale_writers(fields: Any) -> tuple[Object, ...]:
    """Return the newest entry of metadata.managedFields that wrote the number of replicas by the scale subresource."""
    found = [
        {"manager": each.get("manager"), "subresource": "scale", "time": each.get("time")}
        for each in fields or ()
        if each.get("subresource") == "scale" and "f:replicas" in ((each.get("fieldsV1") or {}).get("f:spec") or {})
    ]
    return tuple(sorted(found, key=lambda each: str(each["time"] or ""))[-1:])


def _dated(before: Entry, body: Object, writers: tuple[Object, ...]) -> tuple[Object, ...]:
    """Return the same with the time at which it was seen: API servers leave it out of what came in through scale."""
    known = {each["manager"]: each["time"] for each in before.scale_fields}
    if before.body.get("spec", {}).get("replicas") != body.get("spec", {}).get("replicas"):
        known = {}
    seen = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return tuple(each | {"time": each["time"] or known.get(each["manager"], seen)} for each in writers)


def _essence(body: Object) -> tuple[Any, ...]:
    metadata = body["metadata"]
    return (metadata.get("generation"), metadata.get("deletionTimestamp"))


def shared(value: Any) -> Any:
    """Return an equal value whose strings exist once in this process: bodies of one kind say the same over and over."""
    if isinstance(value, str):
        return intern(value)
    if isinstance(value, dict):
        return {intern(name): shared(each) for name, each in value.items()}
    return [shared(each) for each in value] if isinstance(value, list) else value
