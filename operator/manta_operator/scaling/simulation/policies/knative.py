"""Knative's own autoscaler (KPA), written again from its source. Effects: its own memory.

knative/serving, `pkg/autoscaler/scaling/autoscaler.go`; defaults of `config/core/configmaps/autoscaler.yaml`.

    stable, panic = mean of the requests in flight over 60 s, over 6 s (here seen every 2 s, there every second)
    each          = ceil(value / target), within floor(ready / 2) .. ceil(1000 x ready)
    panics        while panic's is at least 2 x the ready, and for 60 s after it was last
    desired       = stable's; in panic the larger of both, and never less than in this panic before
    tick          every 2 s, no delay on the way down

`target` is what it divides by: container-concurrency-target-percentage (70 %) is in it already. Its pods refuse what is
above their concurrency and its activator holds it; here engines queue, and the router holds.
"""

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from manta_operator.scaling.signals import Signals
from manta_operator.scaling.simulation.fleet import Setup
from manta_operator.scaling.simulation.policies.base import in_flight

_STABLE_SECONDS, _PANIC_SECONDS = 60.0, 6.0
_PANIC_THRESHOLD = 2.0
_UP_RATE, _DOWN_RATE = 1000.0, 2.0


@dataclass
class Knative:
    """`target`: requests in flight for each replica."""

    target: float
    least: int
    most: int
    interval: float = 2.0
    _seen: deque[tuple[float, float]] = field(default_factory=deque)
    _panic_at: float | None = None
    _panic_most: int = 0

    def decide(self, signals: Signals) -> int:
        """Return the replicas that the controller would write."""
        now, ready = signals.now, max(1, signals.replicas.ready)
        self._seen.append((now, float(in_flight(signals))))
        while self._seen[0][0] <= now - _STABLE_SECONDS:
            self._seen.popleft()
        stable, panic = self._wanted(now, _STABLE_SECONDS), self._wanted(now, _PANIC_SECONDS)
        if panic / ready >= _PANIC_THRESHOLD:
            self._panic_at = now
        elif self._panic_at is not None and self._panic_at + _STABLE_SECONDS < now:
            self._panic_at, self._panic_most = None, 0
        desired = self._within(stable, ready)
        if self._panic_at is not None:
            self._panic_most = max(self._panic_most, desired, self._within(panic, ready))
            desired = self._panic_most
        return max(self.least, min(self.most, desired))

    def _wanted(self, now: float, seconds: float) -> int:
        values = [value for at, value in self._seen if at > now - seconds]
        return math.ceil(sum(values) / len(values) / self.target)

    @staticmethod
    def _within(wanted: int, ready: int) -> int:
        return min(max(wanted, math.floor(ready / _DOWN_RATE)), math.ceil(_UP_RATE * ready))


def knative(target: float) -> Callable[[Setup], Knative]:
    """Return a maker of the policy."""
    return lambda setup: Knative(target, max(1, setup.least), setup.most)
