"""Kubernetes' HorizontalPodAutoscaler v2, written again from its source. Effects: its own memory.

kubernetes/kubernetes, `pkg/controller/podautoscaler/` (`horizontal.go`, `replica_calculator.go`), defaults in
`pkg/apis/autoscaling/v2/defaults.go`, from 1.23 on. Two kinds of metric, each with AverageValue:

    Pods      one value of each engine's pod (calcPlainMetricReplicas); what routers hold is in none of them
      ratio   = mean of the ready / target; a start, which tells nothing yet, counts as 0 if ratio > 1, as target if
                ratio < 1; a pod without a place counts as 0 if ratio > 1, not at all otherwise
      desired = ceil(ratio x pods counted); no change where that ratio is within 10 % of 1, or on the other side of it
    External  one value of the deployment (GetExternalPerPodMetricReplicas); what routers hold is in it
      ratio   = total / (target x replicas);  |1 - ratio| <= 0.1: no change;  else desired = ceil(total / target)
    up        at once, at most 100 % or 4 pods a 15 s, the larger
    down      to the highest recommendation of the last 300 s, at most 100 % a 15 s
    sync      every 15 s
"""

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from manta_operator.scaling.signals import EngineSignals, Signals
from manta_operator.scaling.simulation.fleet import Setup
from manta_operator.scaling.simulation.policies.base import in_flight, queued

_TOLERANCE = 0.1
_STABILISATION_SECONDS = 300.0
_UP_PODS, _UP_SHARE = 4, 1.0

Desired = Callable[[Signals], int]


@dataclass
class Hpa:
    """`desired`: what the metric asks for, before stabilisation and limits."""

    desired: Desired
    least: int
    most: int
    interval: float = 15.0
    _recommended: deque[tuple[float, int]] = field(default_factory=deque)

    def decide(self, signals: Signals) -> int:
        """Return the replicas that the controller would write."""
        current, now = signals.replicas.asked, signals.now
        desired = self.desired(signals)
        if not self._recommended:
            self._recommended.append((now, current))
        self._recommended.append((now, desired))
        while self._recommended[0][0] < now - _STABILISATION_SECONDS:
            self._recommended.popleft()
        if desired < current:
            desired = min(current, max(count for _, count in self._recommended))
        highest = max(current + _UP_PODS, math.ceil(current * (1 + _UP_SHARE)))
        return max(self.least, min(self.most, highest, desired))


def of_pods(metric: Callable[[EngineSignals], float], target: float) -> Desired:
    """Return what a metric of type Pods asks for."""

    def desired(signals: Signals) -> int:
        asked, starting, placeless = signals.replicas.asked, signals.replicas.starting, signals.replicas.unschedulable
        values = [metric(engine) for engine in signals.engines.values()]
        if not values:
            return asked
        ratio = sum(values) / len(values) / target
        if ratio > 1:
            values += [0.0] * (starting + placeless)
        elif ratio < 1:
            values += [target] * starting
        again = sum(values) / len(values) / target
        if abs(1 - again) <= _TOLERANCE or (ratio - 1) * (again - 1) < 0:
            return asked
        found = math.ceil(again * len(values) - 1e-9)
        return asked if (found - asked) * (again - 1) < 0 else found

    return desired


def of_total(metric: Callable[[Signals], float], target: float) -> Desired:
    """Return what a metric of type External asks for."""

    def desired(signals: Signals) -> int:
        asked, total = signals.replicas.asked, metric(signals)
        ratio = total / (target * asked) if asked else math.inf
        return asked if abs(1 - ratio) <= _TOLERANCE else math.ceil(total / target)

    return desired


def hpa_concurrency(target: float) -> Callable[[Setup], Hpa]:
    """Return a maker, type Pods: so many requests running and waiting in each engine."""
    return _maker(of_pods(lambda engine: engine.running + engine.waiting, target))


def hpa_queue(target: float) -> Callable[[Setup], Hpa]:
    """Return a maker, type Pods: so many requests waiting in each engine."""
    return _maker(of_pods(lambda engine: engine.waiting, target))


def hpa_external_concurrency(target: float) -> Callable[[Setup], Hpa]:
    """Return a maker, type External: so many requests in flight (and held) for each replica."""
    return _maker(of_total(in_flight, target))


def hpa_external_queue(target: float) -> Callable[[Setup], Hpa]:
    """Return a maker, type External: so many requests waiting (in engines, and held) for each replica."""
    return _maker(of_total(queued, target))


def _maker(desired: Desired) -> Callable[[Setup], Hpa]:
    return lambda setup: Hpa(desired, max(1, setup.least), setup.most)
