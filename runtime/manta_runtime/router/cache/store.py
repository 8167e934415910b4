"""Answers by name, within a bound of bytes: what is kept and what is still being copied, names and overhead counted.

The longest unused go first, and of the tenant that holds most: one that asks for much cannot push out the others.
Pure: the time is passed in.
"""

from collections import OrderedDict
from dataclasses import dataclass, field

ENTRY_BYTES = 768
"""What an entry takes besides its body: objects, name, its places in the tables (measured in the tests)."""
TENANT_BYTES = 1536
"""What a tenant takes that has entries."""
COPY_BYTES = 1536
"""What a copy takes that has only begun."""
CHUNK_BYTES = 80
"""What a piece of an answer takes besides its bytes while the answer is being copied."""

_ENTRY_SHARE = 8
_COPIES_SHARE = 4


@dataclass(frozen=True, slots=True)
class Entry:
    """A complete answer, as it was sent; `kept_at` in seconds of the picker's clock."""

    body: bytes
    content_type: str
    kept_at: float


@dataclass(slots=True)
class _Share:
    """One tenant's entries, the longest unused first, and their bytes."""

    entries: OrderedDict[bytes, Entry] = field(default_factory=OrderedDict)
    size: int = TENANT_BYTES


class Store:
    """At most `max_bytes`, of which one entry takes an eighth at most and unfinished copies a quarter together.

    Entries older than `ttl` seconds are gone.
    """

    def __init__(self, max_bytes: int, ttl: float) -> None:
        self.max_bytes = max_bytes
        self.entry_limit = max_bytes // _ENTRY_SHARE
        self.evicted = 0
        self._copies_limit = max_bytes // _COPIES_SHARE
        self._ttl = ttl
        self._shares: dict[str, _Share] = {}
        self._kept = 0
        self._copies = 0

    def __len__(self) -> int:
        """Entries, those among them that are too old but not yet thrown away."""
        return sum(len(share.entries) for share in self._shares.values())

    @property
    def size(self) -> int:
        """Bytes in use; never more than `max_bytes`."""
        return self._kept + self._copies

    def get(self, tenant: str, name: bytes, now: float, max_age: float | None = None) -> Entry | None:
        """The answer of that name if it is not older than the time to live and `max_age` seconds."""
        share = self._shares.get(tenant)
        entry = share.entries.get(name) if share else None
        if share is None or entry is None:
            return None
        age = now - entry.kept_at
        if age >= self._ttl:
            self._drop(tenant, share, name)
            return None
        if max_age is not None and age > max_age:
            return None
        share.entries.move_to_end(name)
        return entry

    def put(self, tenant: str, name: bytes, entry: Entry) -> bool:
        """Keep an answer in place of any other of that name; False if it is too large."""
        share = self._shares.get(tenant)
        if share and name in share.entries:
            self._drop(tenant, share, name)
        size = _size(name, entry)
        if size > self.entry_limit or not self._make_room(size + (0 if tenant in self._shares else TENANT_BYTES)):
            return False
        if tenant not in self._shares:
            self._shares[tenant] = _Share()
            self._kept += TENANT_BYTES
        share = self._shares[tenant]
        share.entries[name] = entry
        share.size += size
        self._kept += size
        return True

    def reserve(self, size: int) -> bool:
        """Take `size` bytes for a copy in the making; False if copies have too much already."""
        if self._copies + size > self._copies_limit or not self._make_room(size):
            return False
        self._copies += size
        return True

    def give_back(self, size: int) -> None:
        """End a reservation."""
        self._copies -= size

    def _make_room(self, size: int) -> bool:
        if size + self._copies > self.max_bytes:
            return False
        while self.size + size > self.max_bytes:
            tenant, share = max(self._shares.items(), key=lambda item: item[1].size)
            self._drop(tenant, share, next(iter(share.entries)))
            self.evicted += 1
        return True

    def _drop(self, tenant: str, share: _Share, name: bytes) -> None:
        size = _size(name, share.entries.pop(name))
        share.size -= size
        self._kept -= size
        if not share.entries:
            del self._shares[tenant]
            self._kept -= TENANT_BYTES


def _size(name: bytes, entry: Entry) -> int:
    return len(entry.body) + len(name) + ENTRY_BYTES
