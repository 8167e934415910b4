"""Keeps every object, gives each change a number, remembers the last ones and tells all subscribers.

The bottom of the API server: knows no schema and no HTTP. Objects inside are never changed, only replaced.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from manta_operator.box.apiserver.errors import gone

Object = dict[str, Any]
Table = tuple[str, str]
"""Group and plural of a kind: all versions of it share one table."""
Key = tuple[str, str]
"""Namespace ("" for cluster-scoped kinds) and name."""

FIRST_VERSION = 1000
"""Versions start here, so that a client's made-up small number is refused as too old, as on a real server."""
HISTORY = 4096


@dataclass(frozen=True)
class Change:
    """One change; `before` is None for a new object. `object` is shared: copy before changing it."""

    version: int
    table: Table
    type: Literal["ADDED", "MODIFIED", "DELETED"]
    object: Object
    before: Object | None


class Subscription:
    """The changes of some tables from one moment on, in order; `close` ends it."""

    def __init__(self, tables: frozenset[Table] | None, leave: Callable[["Subscription"], None]) -> None:
        self.tables = tables
        self.queue: asyncio.Queue[Change | None] = asyncio.Queue()
        self._leave = leave

    def close(self) -> None:
        """Stop listening; whoever reads the queue gets None."""
        self._leave(self)
        self.queue.put_nowait(None)


class Store:
    """All objects of one API server."""

    def __init__(self) -> None:
        self._tables: dict[Table, dict[Key, Object]] = {}
        self._history: deque[Change] = deque(maxlen=HISTORY)
        self._subscriptions: set[Subscription] = set()
        self.version = FIRST_VERSION

    def get(self, table: Table, key: Key) -> Object | None:
        """Return an object, shared."""
        return self._tables.get(table, {}).get(key)

    def objects(self, table: Table, namespace: str | None = None) -> Iterator[tuple[Key, Object]]:
        """Iterate over the objects of a table, oldest first; None stands for all namespaces."""
        for key, obj in self._tables.get(table, {}).items():
            if namespace is None or key[0] == namespace:
                yield key, obj

    def put(self, table: Table, key: Key, obj: Object) -> Object:
        """Store an object under a new version, which is written into it; returns it."""
        before = self.get(table, key)
        self.version += 1
        obj["metadata"]["resourceVersion"] = str(self.version)
        self._tables.setdefault(table, {})[key] = obj
        self._tell(Change(self.version, table, "MODIFIED" if before else "ADDED", obj, before))
        return obj

    def remove(self, table: Table, key: Key) -> Object:
        """Forget an object; returns its last state, with the version of its removal."""
        before = self._tables[table].pop(key)
        self.version += 1
        last = {**before, "metadata": {**before["metadata"], "resourceVersion": str(self.version)}}
        self._tell(Change(self.version, table, "DELETED", last, before))
        return last

    def subscribe(self, tables: frozenset[Table] | None) -> Subscription:
        """Listen to tables (None: to all) from now on."""
        subscription = Subscription(tables, self._subscriptions.discard)
        self._subscriptions.add(subscription)
        return subscription

    def since(self, version: int, tables: frozenset[Table]) -> list[Change]:
        """Return the changes after a version; ApiError 410 if they are not all remembered."""
        oldest = self._history[0].version if len(self._history) == HISTORY else FIRST_VERSION + 1
        if version + 1 < oldest:
            raise gone(version, oldest)
        return [change for change in self._history if change.version > version and change.table in tables]

    def close(self) -> None:
        """End all subscriptions."""
        for subscription in tuple(self._subscriptions):
            subscription.close()

    def _tell(self, change: Change) -> None:
        self._history.append(change)
        for subscription in tuple(self._subscriptions):
            if subscription.tables is None or change.table in subscription.tables:
                subscription.queue.put_nowait(change)
