"""The requests that wait for a replica: who is next, who may still wait, who gives way. Pure, and has no clock.

Order: the highest priority first, always. Within a priority start-time fair queueing (Goyal, Vin, Cheng 1997) between
tenants: an entry's start tag is S = max(v, finish of its tenant's last served one), its finish F = S + cost / weight,
the least S is served, and v is the S served last. Within a tenant first come, first served. So whatever others do, two
tenants that both always wait get service as their weights, to within one entry's cost / weight each; and nobody starves
within a priority.

Room: `size` entries. In a full queue a newcomer takes the place of the newest entry of the lowest priority waiting, if
that is lower than its own; or, among equals, of the tenant farthest above its fair share (places as weights), if the
newcomer's tenant is below its own. Otherwise it is refused: for its share if others of its priority wait too, else
because the queue is full.
"""

import heapq
import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Generic, Literal, TypeVar

T = TypeVar("T")
Refusal = Literal["queue_full", "queue_share_exceeded"]

_SLACK = 64  # entries that are gone and still stored, beyond as many as wait


@dataclass(slots=True, eq=False)
class Entry(Generic[T]):
    """One that waits. `cost` in tokens (estimated); `since` when it came; `gone`: taken, removed or pushed out."""

    item: T
    tenant: str
    cost: float
    weight: float
    priority: int
    since: float
    gone: bool = False


@dataclass(slots=True)
class _Line(Generic[T]):
    """The entries of one tenant at one priority. `waiting` counts those that are not gone."""

    tenant: str
    weight: float = 1.0
    entries: deque[Entry[T]] = field(default_factory=deque)
    finish: float = 0.0
    start: float = 0.0  # tag of the first entry
    head: int = 0  # its place in `heads` by order of arrival; 0: none
    waiting: int = 0


@dataclass(slots=True)
class _Level(Generic[T]):
    """The lines of one priority; `heads` orders them by start tag: (tag, order of arrival, line), some of the past."""

    lines: dict[str, _Line[T]] = field(default_factory=dict)
    heads: list[tuple[float, int, _Line[T]]] = field(default_factory=list)
    virtual: float = 0.0
    waiting: int = 0


class FairQueue(Generic[T]):
    """At most `size` entries; 0: none ever."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._levels: dict[int, _Level[T]] = {}
        self._arrivals: deque[Entry[T]] = deque()  # in order of `since`, gone ones included until they come first
        self._apart: deque[Entry[T]] = deque()  # likewise
        self._count = 0
        self._number = 0

    def __len__(self) -> int:
        return self._count

    def offer(
        self, item: T, tenant: str, cost: float, now: float, *, weight: float = 1.0, priority: int = 0
    ) -> tuple[Entry[T] | Refusal, Entry[T] | None]:
        """Let `item` wait. Returns its entry or why it may not, and the entry that had to go for it, if any."""
        pushed = None
        if self._count >= self._size:
            pushed = self._gives_way(tenant, weight, priority)
            if pushed is None:
                level = self._levels.get(priority)
                others = level is not None and level.waiting > (
                    line.waiting if (line := level.lines.get(tenant)) else 0
                )
                return "queue_share_exceeded" if others and self._size else "queue_full", None
            self.remove(pushed)
        entry = Entry(item, tenant, max(cost, 1.0), weight, priority, now)
        self._enter(entry)
        return entry, pushed

    def _enter(self, entry: Entry[T]) -> None:
        level = self._levels.setdefault(entry.priority, _Level())
        line = level.lines.get(entry.tenant)
        if line is None:
            line = level.lines[entry.tenant] = _Line(entry.tenant)
        line.weight = entry.weight
        line.entries.append(entry)
        line.waiting += 1
        level.waiting += 1
        self._count += 1
        self._arrivals.append(entry)
        if line.waiting == 1:
            self._head(level, line)

    def _head(self, level: _Level[T], line: _Line[T]) -> None:
        """A line has a new first entry."""
        line.start = max(level.virtual, line.finish)
        self._number += 1
        line.head = self._number
        heapq.heappush(level.heads, (line.start, self._number, line))
        if len(level.heads) > 2 * len(level.lines) + _SLACK:
            level.heads = [head for head in level.heads if head[1] == head[2].head]
            heapq.heapify(level.heads)

    def peek(self) -> Entry[T] | None:
        """The next one."""
        for priority in sorted(self._levels, reverse=True):
            level = self._levels[priority]
            while level.heads:
                _, number, line = level.heads[0]
                if number == line.head:
                    _drop_gone(line)
                    return line.entries[0]
                heapq.heappop(level.heads)
            del self._levels[priority]  # nobody waits: all tags of the past are equal to a fresh start
        return None

    def take(self) -> Entry[T] | None:
        """The next one, out of the queue."""
        entry = self.peek()
        if entry is None:
            return None
        level = self._levels[entry.priority]
        line = level.lines[entry.tenant]
        heapq.heappop(level.heads)
        line.head = 0
        level.virtual = line.start
        line.finish = line.start + entry.cost / entry.weight
        self._out(entry, level, line)
        _drop_gone(line)
        if line.entries:
            self._head(level, line)
        return entry

    def remove(self, entry: Entry[T]) -> bool:
        """It waits no more (its client left, its time is up). False if it was gone already."""
        if entry.gone:
            return False
        level = self._levels[entry.priority]
        line = level.lines[entry.tenant]
        self._out(entry, level, line)
        entries = line.entries
        while entries and entries[-1].gone:
            entries.pop()
        if len(entries) > 2 * line.waiting + _SLACK:
            line.entries = deque(entry for entry in entries if not entry.gone)
        if not level.waiting:
            del self._levels[entry.priority]  # all tags of the past are equal to a fresh start
        elif not line.waiting:
            line.head = 0
        return True

    def _out(self, entry: Entry[T], level: _Level[T], line: _Line[T]) -> None:
        entry.gone = True
        line.waiting -= 1
        level.waiting -= 1
        self._count -= 1
        if len(self._arrivals) + len(self._apart) > 2 * self._count + _SLACK:
            self._arrivals = deque(entry for entry in self._arrivals if not entry.gone)
            self._apart = deque(entry for entry in self._apart if not entry.gone)

    def set_apart(self) -> None:
        """Those that wait now expire apart from those that come from now on; their turn is what it was."""
        self._apart.extend(self._arrivals)
        self._arrivals.clear()

    def expired(self, before: float, apart: float = -math.inf) -> Iterator[Entry[T]]:
        """Those that came before `before`, and of those set apart the ones before `apart`; out of the queue."""
        for arrivals, limit in ((self._apart, apart), (self._arrivals, before)):
            while arrivals and (arrivals[0].gone or arrivals[0].since < limit):
                entry = arrivals.popleft()
                if self.remove(entry):
                    yield entry

    def oldest(self) -> float:
        """When the one came that waits longest; infinite: none waits."""
        for arrivals in (self._apart, self._arrivals):
            while arrivals and arrivals[0].gone:
                arrivals.popleft()
            if arrivals:
                return arrivals[0].since
        return math.inf

    def waiting(self) -> dict[str, int]:
        """How many wait, by tenant."""
        found: dict[str, int] = {}
        for level in self._levels.values():
            for line in level.lines.values():
                if line.waiting:
                    found[line.tenant] = found.get(line.tenant, 0) + line.waiting
        return found

    def _gives_way(self, tenant: str, weight: float, priority: int) -> Entry[T] | None:
        """The entry that makes room for one more of `tenant`; None if none should."""
        lowest = min((p for p, level in self._levels.items() if level.waiting), default=priority)
        if lowest > priority or not self._size:
            return None
        level = self._levels[lowest]
        equal = lowest == priority
        lines = [line for line in level.lines.values() if line.waiting and not (equal and line.tenant == tenant)]
        if not lines:
            return None
        fullest = max(lines, key=lambda line: (line.waiting / line.weight, line.entries[-1].since))
        if equal:
            mine = level.lines.get(tenant)
            after = ((mine.waiting if mine else 0) + 1) / weight
            # Giving a place is fair only while the giver keeps at least as much, for its weight, as the taker gets.
            if (fullest.waiting - 1) / fullest.weight < after:
                return None
        return next(entry for entry in reversed(fullest.entries) if not entry.gone)


def _drop_gone(line: _Line[T]) -> None:
    while line.entries and line.entries[0].gone:
        line.entries.popleft()
