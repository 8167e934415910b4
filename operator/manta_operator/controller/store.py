"""Everything the watches have told about children: what a pass reads instead of asking the API server.

A pass may rely on it once every kind has been listed (`ready`). It may lag behind, never contradict itself: what we
wrote is put in at once from the API server's answer, and older news about the same object does not undo it.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from manta_operator.controller.children import Child, ChildName, Key, child, number
from manta_operator.controller.errors import ClusterError
from manta_operator.controller.kinds import CHILD_KINDS, OBSERVED
from manta_operator.controller.recent import Recent

Source = tuple[str, str | None]
"""Kind and namespace of one watch; None: all namespaces."""
NEWER_THAN_ALL = 1 << 63
RECENT_SECONDS = 120.0
"""How long it is remembered that something is gone: no answer to a request is so late."""


class Store:
    """The children of every LLMDeployment; `wake` is called with the key of one whose children changed."""

    def __init__(self, wake: Callable[[Key], None], namespaces: Iterable[str | None]) -> None:
        self._wake = wake
        self._children: dict[tuple[str, str, str], Child] = {}
        self._of: dict[Key, dict[ChildName, Child]] = defaultdict(dict)
        self._going: set[str] = set()
        self._gone: Recent[str] = Recent(RECENT_SECONDS)
        self._moved: Recent[Key] = Recent(RECENT_SECONDS)
        self._bound: Recent[str] = Recent(RECENT_SECONDS)
        self._writing: set[tuple[str, str, str]] = set()
        self._unlisted: set[Source] = {(each.kind, place) for each in CHILD_KINDS for place in namespaces}
        self._troubles: dict[Source, ClusterError] = {}
        self._judged = asyncio.Event()

    async def ready(self, namespace: str) -> None:
        """Wait until a namespace is seen: what decisions are made from, and all else was listed or cannot be.

        A namespace that cannot be seen, because the rights there went with it, holds up no other.
        """
        while not self.sees(namespace):
            await self._judged.wait()

    def sees(self, namespace: str) -> bool:
        """Return whether `ready` would not wait."""
        return not any(place in (None, namespace) for _, place in self._unlisted)

    def troubles(self, kinds: Collection[str], namespace: str) -> list[ClusterError]:
        """Return what keeps these kinds from being watched in a namespace: a person has to put it right."""
        return [
            error for (kind, place), error in self._troubles.items() if kind in kinds and place in (None, namespace)
        ]

    def of(self, key: Key) -> Mapping[ChildName, Child]:
        """Return the children that carry the label of an LLMDeployment."""
        return self._of.get(key, {})

    def find(self, kind: str, namespace: str, name: str) -> Child | None:
        """Return a child by its name, whosever it is."""
        return self._children.get((kind, namespace, name))

    def going(self, found: Child) -> bool:
        """Say whether a child is being deleted, or was deleted by us although no watch has said so yet."""
        return found.deleting or found.uid in self._going

    def expect_gone(self, uid: str) -> None:
        """Note that the API server has accepted our deletion of this object; the watch may have been faster."""
        if not self._gone.when(uid):
            self._going.add(uid)

    def moved(self, key: Key) -> float:
        """Return when a pod of an LLMDeployment last took a place or left one (time.monotonic); 0: not lately."""
        return self._moved.when(key)

    def bound(self, uid: str) -> float:
        """Return when a pod was first seen on its node (time.monotonic); 0: not lately."""
        return self._bound.when(uid)

    @contextmanager
    def writing(self, kind: str, namespace: str, name: str) -> Iterator[None]:
        """Surround a write of ours and the `put` of its answer: a watch that is faster need not wake us."""
        place = (kind, namespace, name)
        self._writing.add(place)
        try:
            yield
        finally:
            self._writing.discard(place)

    def put(self, kind: str, body: Mapping[str, Any], *, answer: bool = False, rewound: bool = False) -> Child:
        """Take in an object as the API server has it.

        Args:
            kind: Its kind.
            body: As the API server sent it.
            answer: To a write of ours; else it comes from a watch or a list.
            rewound: Older than what is known, and right all the same: the API server has gone back in time.
        """
        metadata = body["metadata"]
        place = (kind, metadata["namespace"], metadata["name"])
        old = self._children.get(place)
        if (
            old is not None
            and old.version
            and not rewound
            and (old.uid, old.version) == (metadata["uid"], number(metadata))
        ):
            return old  # the echo of our own write, which need not be read
        new = child(kind, body)
        if answer and self._gone.when(new.uid):
            self._wake(new.key)  # it was deleted again before we heard that it was written
            return new
        if old is not None and new.version and new.version < old.version and not rewound:
            if answer and not _same(old, new):
                self._wake(new.key)  # somebody has written after us
            return old
        self._children[place] = new
        if new.node and (old is None or (old.uid, old.node) != (new.uid, new.node)):
            self._moved.note(new.key)
            self._bound.note(new.uid)
        if old is not None and old.key != new.key:
            self._drop_from(old)
            self._wake(old.key)
        if new.deployment:
            self._of[new.key][kind, new.name] = new
        expected = answer or place in self._writing
        if not expected and (old is None or not _same(old, new)):
            self._wake(new.key)
        return new

    def remove(self, kind: str, namespace: str, name: str, uid: str) -> None:
        """Take out an object that is gone; another one of that name stays."""
        self._going.discard(uid)
        self._gone.note(uid)
        old = self._children.get((kind, namespace, name))
        if old is None or old.uid != uid:
            return
        if kind == "Pod":
            self._moved.note(old.key)
        del self._children[kind, namespace, name]
        self._drop_from(old)
        self._wake(old.key)

    def _drop_from(self, old: Child) -> None:
        siblings = self._of.get(old.key)
        if siblings is not None:
            siblings.pop((old.kind, old.name), None)
            if not siblings:
                del self._of[old.key]

    def newest(self, source: Source) -> int:
        """Return the highest resourceVersion that is known: a list that begins now cannot have a lower one."""
        return max((each.version for each in self._from(source)), default=0)

    def listed(self, source: Source, uids: set[str], version: int) -> None:
        """Note that a list is complete: what it did not show and is not newer than it is gone."""
        for each in self._from(source):
            if each.uid not in uids and each.version <= version:
                self.remove(each.kind, each.namespace, each.name, each.uid)
        self._unlisted.discard(source)
        self._judge()

    def _from(self, source: Source) -> list[Child]:
        kind, namespace = source
        return [each for each in self._children.values() if each.kind == kind and namespace in (None, each.namespace)]

    def watched(self, source: Source) -> bool:
        """Note that a watch is open; return whether it could not be before."""
        return self._troubles.pop(source, None) is not None

    def unseen(self, source: Source, error: ClusterError | None) -> bool:
        """Note that a kind cannot be watched; no `error`: it is not served, and that is fine. Return if that is new.

        What decisions are made from is waited for; without an eye for the others, they are only not seen to drift.
        """
        if error is None:
            self.listed(source, set(), NEWER_THAN_ALL)
            return self.watched(source)
        new = source not in self._troubles
        self._troubles[source] = error
        if source[0] in OBSERVED:
            self._unlisted.add(source)
        else:
            self._unlisted.discard(source)
        self._judge()
        return new

    def _judge(self) -> None:
        """Let everybody who waits look again."""
        self._judged.set()
        self._judged = asyncio.Event()


def _same(old: Child, new: Child) -> bool:
    return (old.uid, old.owner, old.digest, old.deleting, old.seen) == (
        new.uid, new.owner, new.digest, new.deleting, new.seen,
    )  # fmt: skip
