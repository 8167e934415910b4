"""cache_aware of vllm-router (and, before it, of SGLang's router): the longest known prefix while loads are balanced.

Written from github.com/vllm-project/router, `src/policies/cache_aware.rs`, commit 16917f4, with the command line's
defaults: cache_threshold 0.3, balance_abs_threshold 64, balance_rel_threshold 1.5, eviction every 120 s,
max_tree_size 2^26 characters. Among equally loaded workers the first one is taken, as Rust's `min_by_key` does.
`CacheAwareTight` has the numbers of `CacheAwareConfig::default()`: 0.5, 32, 1.1, 30 s; not its tree of 10,000
characters, which holds less than one prompt of a trace.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from affinity.policies.base import Fleet, Policy
from affinity.policies.radix_tree import RadixTree, Symbol
from affinity.prompts import block_characters

if TYPE_CHECKING:
    from affinity.traces import Ask


@dataclass(frozen=True)
class Settings:
    """The policy's five numbers."""

    cache_threshold: float = 0.3
    balance_abs_threshold: int = 64
    balance_rel_threshold: float = 1.5
    eviction_seconds: float = 120.0
    max_tree_size: int = 2**26


class CacheAware(Policy):
    """Prefix affinity above a threshold, else the least loaded; the least loaded always when out of balance."""

    settings = Settings()

    def __init__(self, fleet: Fleet) -> None:
        super().__init__(fleet)
        self._tree = RadixTree(fleet.engines)
        self._evicted = 0.0

    def choose(self, ask: Ask, now: float) -> int:
        """Return a worker, and teach the tree."""
        settings = self.settings
        if now - self._evicted >= settings.eviction_seconds:
            self._evicted = now
            self._tree.evict(settings.max_tree_size)
        text = _text(ask)
        low, high = min(self.in_flight), max(self.in_flight)
        chosen = self.in_flight.index(low)
        if not (high - low > settings.balance_abs_threshold and high > low * settings.balance_rel_threshold):
            worker, matched = self._tree.match(text)
            if worker is not None and matched > settings.cache_threshold * sum(size for _, size in text):
                chosen = worker
        self._tree.insert(text, chosen)
        return chosen


class CacheAwareTight(CacheAware):
    """The same with the narrower numbers of `CacheAwareConfig::default()`, except for its tiny tree."""

    settings = Settings(0.5, 32, 1.1, 30.0)


def _text(ask: Ask) -> tuple[Symbol, ...]:
    return tuple((block, block_characters(ask, place)) for place, block in enumerate(ask.blocks))
