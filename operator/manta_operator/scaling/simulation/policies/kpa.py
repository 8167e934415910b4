"""Knative's autoscaler as AIBrix has it (strategy KPA), written again from its source. Effects: its own memory.

vllm-project/aibrix at e3e10f9 (2026-08, after 0.7.0), `pkg/controller/podautoscaler/`: `algorithm/kpa.go`,
`context/context.go` (defaults), `metrics/client.go` (windows), `podautoscaler_controller.go` (stabilizeRecommendation).

    stable, panic = mean of the metric over 180 s, 60 s;   panics while panic / stable > 2, or stable <= 0
    each          = ceil(value / target), or the replicas there are where value is within 10 % of target (of one
                    replica: the comparison is AIBrix's own), within floor(replicas / 2) .. max(1, ceil(2 x replicas))
    desired       = stable's; in panic the larger of both (what Knative keeps of a panic, AIBrix's context forgets)
    down          to the lowest recommendation of the last 300 s, for which the source takes the minimum
    sync          every 10 s; the metric is external: requests running in all replicas, as in its samples
"""

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from manta_operator.scaling.signals import Signals
from manta_operator.scaling.simulation.fleet import Setup
from manta_operator.scaling.simulation.policies.base import in_flight

_STABLE_SECONDS, _PANIC_SECONDS = 180.0, 60.0
_PANIC_THRESHOLD = 2.0
_RATE = 2.0
_TOLERANCE = 0.1
_COOLDOWN_SECONDS = 300.0


@dataclass
class Kpa:
    """`target`: requests in flight for each replica."""

    target: float
    least: int
    most: int
    interval: float = 10.0
    _seen: deque[tuple[float, float]] = field(default_factory=deque)
    _recommended: deque[tuple[float, int]] = field(default_factory=deque)

    def decide(self, signals: Signals) -> int:
        """Return the replicas that the controller would write."""
        now, current = signals.now, signals.replicas.asked
        self._seen.append((now, float(in_flight(signals))))
        while self._seen[0][0] <= now - _STABLE_SECONDS:
            self._seen.popleft()
        stable, panic = self._mean(now, _STABLE_SECONDS), self._mean(now, _PANIC_SECONDS)
        desired = self._pods(stable, current)
        if stable <= 0 or panic / stable > _PANIC_THRESHOLD:
            desired = max(desired, self._pods(panic, current))
        desired = min(self.most, max(self.least, desired))
        return self._stabilised(desired, current, now)

    def _mean(self, now: float, seconds: float) -> float:
        values = [value for at, value in self._seen if at > now - seconds]
        return sum(values) / len(values)

    def _pods(self, value: float, current: int) -> int:
        within = self.target * (1 - _TOLERANCE) <= value <= self.target * (1 + _TOLERANCE)
        wanted = current if within else math.ceil(value / self.target)
        return min(max(wanted, math.floor(current / _RATE)), max(1, math.ceil(_RATE * current)))

    def _stabilised(self, desired: int, current: int, now: float) -> int:
        self._recommended.append((now, desired))
        while self._recommended[0][0] <= now - _COOLDOWN_SECONDS:
            self._recommended.popleft()
        return min(count for _, count in self._recommended) if desired < current else desired


def kpa(target: float) -> Callable[[Setup], Kpa]:
    """Return a maker of the policy."""
    return lambda setup: Kpa(target, max(1, setup.least), setup.most)
