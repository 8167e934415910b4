"""The KV cache in blocks, shared by equal prefixes: what vLLM's block pool does, as counts and hashes. Pure.

A full block has a name, the hash of all tokens up to its end, so equal prefixes have equal names. Blocks that nobody
holds stay until their room is needed, the longest unused first (vLLM's automatic prefix caching).
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


def block_names(tokens: Sequence[int], size: int, names: tuple[int, ...] = ()) -> tuple[int, ...]:
    """Return the names of all full blocks of `tokens`; `names` are those known already."""
    found = list(names)
    for start in range(len(names) * size, len(tokens) - size + 1, size):
        found.append(hash((found[-1] if found else 0, *tokens[start : start + size])))
    return tuple(found)


class KvCache:
    """`total` blocks. Holders take blocks by name, or without one while a block is not full."""

    def __init__(self, total: int) -> None:
        self.total = total
        self._holders: dict[int, int] = {}
        self._idle: OrderedDict[int, None] = OrderedDict()
        self._nameless = 0

    @property
    def used(self) -> int:
        """Blocks that somebody holds; the others can be had."""
        return len(self._holders) + self._nameless

    @property
    def free(self) -> int:
        """Blocks that can be had, those with an idle prefix among them."""
        return self.total - self.used

    def known(self, names: Iterable[int]) -> int:
        """Return how many blocks at the beginning of `names` are there already."""
        count = 0
        for name in names:
            if name not in self._holders and name not in self._idle:
                break
            count += 1
        return count

    def take(self, name: int | None = None) -> None:
        """Hold one block; the caller has seen that it is known or that one is free."""
        if name is None:
            self._nameless += 1
        else:
            self._holders[name] = self._holders.get(name, 0) + 1
            self._idle.pop(name, None)
        self._evict()

    def fill(self, name: int) -> None:
        """A block held without a name is full: it is `name` now."""
        self._nameless -= 1
        self.take(name)

    def give_back(self, names: Iterable[int], nameless: int) -> None:
        """Hold these no more. The last block of a prefix becomes the first to be evicted."""
        self._nameless -= nameless
        for name in reversed(tuple(names)):
            self._holders[name] -= 1
            if not self._holders[name]:
                del self._holders[name]
                self._idle[name] = None
                self._idle.move_to_end(name)
        self._evict()

    def _evict(self) -> None:
        while len(self._idle) > self.free:
            self._idle.popitem(last=False)
