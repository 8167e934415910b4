"""KubeAI's PrefixHash: consistent hashing with bounded loads over the beginning of the prompt.

Written from github.com/kubeai-project/kubeai, commit f442a2c: `internal/loadbalancer/balance_chwbl.go`, `group.go`, and
the defaults of `api/k8s/v1/model_types.go` (load factor 125 %, 256 places on the ring per endpoint, 100 characters).
The key is the beginning of a completion's prompt; for a chat it would be that of the first user message.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING

from affinity.policies.base import Fleet, Policy
from affinity.policies.xxhash64 import xxhash64
from affinity.prompts import beginning

if TYPE_CHECKING:
    from affinity.traces import Ask

LOAD_FACTOR = 1.25
REPLICATION = 256
PREFIX_CHARACTERS = 100


class Chwbl(Policy):
    """The first engine on the ring, from the prefix's place on, that has no more than its share of the load."""

    def __init__(self, fleet: Fleet) -> None:
        super().__init__(fleet)
        self._at = {
            xxhash64(f"default/model-traced-{engine}{place}".encode()): engine
            for engine in range(fleet.engines)
            for place in range(REPLICATION)
        }
        self._ring = sorted(self._at)

    def choose(self, ask: Ask, _now: float) -> int:
        """Walk the ring; the prefix's own engine if all are above their share."""
        key = xxhash64(beginning(ask, PREFIX_CHARACTERS).encode())
        start = bisect_left(self._ring, key) % len(self._ring)
        for step in range(len(self._ring)):
            engine = self._at[self._ring[(start + step) % len(self._ring)]]
            if self._load_ok(engine):
                return engine
        return self._at[self._ring[start]]

    def _load_ok(self, engine: int) -> bool:
        total = sum(self.in_flight)
        if total == 0:
            return True
        return self.in_flight[engine] <= (total + 1) / self.fleet.engines * LOAD_FACTOR
