"""Which replica's KV cache holds which prompt blocks, as far as we sent them there; `chooser.py` asks and tells.

One LRU per replica, as large as the engine's own KV cache, and for each block a bit mask of the replicas that hold
it. A chain of blocks is entered from its end to its start, so that a block is always older than those before it and
goes first, as in vLLM. Hence the holders of a block also hold all blocks before it, and one walk along the prompt
answers for all replicas.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from manta_runtime.router.picker.prompts import CHARS_BEFORE, CHARS_PER_TOKEN

# Assumed until the engine tells its size: a small one, since believing in blocks that are gone costs more than
# forgetting some that are there.
DEFAULT_TOKENS = 128 << 10
# Room for blocks that are gone from the engine already. To believe in one costs a choice that is a little less even, to
# forget one too early costs its computation.
_SLACK = 1.15
_TRIM_TO = 0.98
# Blocks of all replicas together; about 200 bytes each.
MAX_ENTRIES = 1 << 20

_SIZES = tuple(after - before for before, after in pairwise(CHARS_BEFORE))
_DEEPEST = len(_SIZES)


@dataclass(slots=True)
class _Cache:
    """What one replica holds: block → characters, the oldest first."""

    bit: int
    tokens: int = DEFAULT_TOKENS
    held: dict[int, int] = field(default_factory=dict)
    chars: int = 0


class PrefixIndex:
    """Blocks by replica. `chars_per_token` turns the engines' sizes (tokens) into ours (characters)."""

    def __init__(self, max_entries: int = MAX_ENTRIES) -> None:
        self.chars_per_token = float(CHARS_PER_TOKEN)
        self._max_entries = self._most = max_entries  # of all replicas, of one
        self._caches: dict[str, _Cache] = {}
        self._names: dict[int, str] = {}  # bit → replica
        self._holders: dict[int, int] = {}  # block → bits
        self._ghosts = 0

    def match(self, blocks: Sequence[int]) -> dict[str, int]:
        """How many leading blocks each replica holds; those that hold none are left out."""
        found: dict[str, int] = {}
        holders = self._holders
        live, depth = 0, 0
        for block in blocks:
            mask = holders.get(block, 0)
            if mask != live and depth:
                self._note(found, live & ~mask, depth)
                mask &= live
            if not mask:
                return found
            live = mask
            depth += 1
        self._note(found, live, depth)
        return found

    def insert(self, replica: str, blocks: Sequence[int], more_chars: int = 0) -> None:
        """`replica` now holds `blocks`, and `more_chars` characters that no prompt can match (ends, answers).

        What is larger than the whole cache is left out: the engine refuses it.
        """
        cache = self._caches.get(replica) or self._cache(replica)
        depth = min(len(blocks), _DEEPEST)
        limit = cache.tokens * self.chars_per_token * _SLACK
        if CHARS_BEFORE[depth] + more_chars > limit:
            return
        held, holders, bit = cache.held, self._holders, cache.bit
        grown = 0
        if more_chars > 0:
            self._ghosts -= 1
            held[self._ghosts] = more_chars
            grown = more_chars
        for place in range(depth - 1, -1, -1):
            block = blocks[place]
            size = held.pop(block, 0)
            if not size:
                size = _SIZES[place]
                grown += size
                holders[block] = holders.get(block, 0) | bit
            held[block] = size
        cache.chars += grown
        if cache.chars > limit or len(held) > self._most:
            self._trim(cache, limit)

    def resize(self, replica: str, tokens: int) -> None:
        """The engine's KV cache holds `tokens` tokens."""
        cache = self._cache(replica)
        if tokens > 0 and tokens != cache.tokens:
            cache.tokens = tokens
            limit = tokens * self.chars_per_token * _SLACK
            if cache.chars > limit:
                self._trim(cache, limit)

    def keep_only(self, replicas: Iterable[str]) -> None:
        """Forget the replicas that no longer exist."""
        keep = set(replicas)
        for name in [name for name in self._caches if name not in keep]:
            self.forget(name)

    def forget(self, replica: str) -> None:
        """The engine has started anew: its cache is empty."""
        cache = self._caches.pop(replica, None)
        if cache is None:
            return
        del self._names[cache.bit]
        self._most = self._max_entries // max(1, len(self._caches))
        self._release(cache.held, cache.bit)

    def sizes(self) -> dict[str, tuple[int, int]]:
        """Blocks and characters held, by replica."""
        return {name: (len(cache.held), cache.chars) for name, cache in self._caches.items()}

    def _cache(self, replica: str) -> _Cache:
        cache = self._caches.get(replica)
        if cache is None:
            bit = 1
            while bit in self._names:
                bit <<= 1
            cache = self._caches[replica] = _Cache(bit)
            self._names[bit] = replica
            self._most = self._max_entries // len(self._caches)
        return cache

    def _trim(self, cache: _Cache, limit: float) -> None:
        held = cache.held
        # Some more than needed: finding the oldest costs a walk over the places of all that went since dict last grew.
        limit, most = limit * _TRIM_TO, int(self._most * _TRIM_TO)
        chars, count = cache.chars, len(held)
        oldest = []
        for block, size in held.items():
            if chars <= limit and count <= most:
                break
            oldest.append(block)
            chars -= size
            count -= 1
        cache.chars = chars
        for block in oldest:
            del held[block]
        self._release(oldest, cache.bit)

    def _release(self, blocks: Iterable[int], bit: int) -> None:
        holders = self._holders
        for block in blocks:
            mask = holders.get(block, 0)
            if mask == bit:
                del holders[block]
            elif mask & bit:
                holders[block] = mask ^ bit

    def _note(self, found: dict[str, int], mask: int, depth: int) -> None:
        while mask:
            bit = mask & -mask
            found[self._names[bit]] = depth
            mask ^= bit
