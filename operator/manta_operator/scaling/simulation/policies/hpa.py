"""Kubernetes' HorizontalPodAutoscaler v2, written again from its source. Effects: its own memory.

kubernetes/kubernetes, `pkg/controller/podautoscaler/` (`horizontal.go`, `replica_calculator.go`), defaults in
`pkg/apis/autoscaling/v2/defaults.go`, from 1.23 on. An External metric with AverageValue,
as a metrics adapter serves it (GetExternalPerPodMetricReplicas):

    ratio    = total / (target x replicas);  |1 - ratio| <= 0.1: no change;  else desired = ceil(total / target)
    up       at once, at most 100 % or 4 pods a 15 s, the larger
    down     to the highest recommendation of the last 300 s, at most 100 % a 15 s
    sync     every 15 s
"""

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from manta_operator.scaling.signals import Signals
from manta_operator.scaling.simulation.fleet import Setup
from manta_operator.scaling.simulation.policies.base import in_flight, queued

_TOLERANCE = 0.1
_STABILISATION_SECONDS = 300.0
_UP_PODS, _UP_SHARE = 4, 1.0


@dataclass
class Hpa:
    """`metric`: the total of all replicas; `target`: what one of them should have."""

    metric: Callable[[Signals], float]
    target: float
    least: int
    most: int
    interval: float = 15.0
    _recommended: deque[tuple[float, int]] = field(default_factory=deque)

    def decide(self, signals: Signals) -> int:
        """Return the replicas that the controller would write."""
        current, now = signals.replicas.asked, signals.now
        total = self.metric(signals)
        ratio = total / (self.target * current) if current else math.inf
        desired = current if abs(1 - ratio) <= _TOLERANCE else math.ceil(total / self.target)
        if not self._recommended:
            self._recommended.append((now, current))
        self._recommended.append((now, desired))
        while self._recommended[0][0] < now - _STABILISATION_SECONDS:
            self._recommended.popleft()
        if desired < current:
            desired = min(current, max(count for _, count in self._recommended))
        highest = max(current + _UP_PODS, math.ceil(current * (1 + _UP_SHARE)))
        return max(self.least, min(self.most, highest, desired))


def hpa_concurrency(target: float) -> Callable[[Setup], Hpa]:
    """Return a maker: so many requests in flight (and held) for each replica."""
    return lambda setup: Hpa(in_flight, target, max(1, setup.least), setup.most)


def hpa_queue(target: float) -> Callable[[Setup], Hpa]:
    """Return a maker: so many requests waiting (in engines, and held) for each replica."""
    return lambda setup: Hpa(queued, target, max(1, setup.least), setup.most)
