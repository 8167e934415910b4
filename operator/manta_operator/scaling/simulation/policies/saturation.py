"""llm-d's saturation rule (workload-variant-autoscaler), for one variant, written again from source. Effects: memory.

llm-d/llm-d-workload-variant-autoscaler at b08b1c7 (2026-02, after 0.5.1-rc.2), `internal/saturation/analyzer.go`,
`internal/interfaces/saturation_scaling.go`; thresholds of `config/manager/configmap-saturation-scaling.yaml`.

    saturated  a replica with KV use >= 0.8 or >= 5 requests waiting
    spare      mean over the others of 0.8 - KV use, and of 5 - requests waiting
    up one     spare KV < 0.1, or spare queue < 3
    down one   at least two are not saturated, and both spares would stay above that with one of them fewer
    blocked    while replicas asked for, present, and heard from differ
    sync       every 15 s

Its engines hold every request that waits; our router holds some, which are added to the engines' queues here.
"""

from collections.abc import Callable
from dataclasses import dataclass

from manta_operator.scaling.signals import Signals
from manta_operator.scaling.simulation.fleet import Setup

_KV_LIMIT, _QUEUE_LIMIT = 0.80, 5.0
_KV_SPARE, _QUEUE_SPARE = 0.1, 3.0
_LEAST_UNSATURATED = 2


@dataclass
class Saturation:
    """One step up or down at a time."""

    least: int
    most: int
    interval: float = 15.0

    def decide(self, signals: Signals) -> int:
        """Return the replicas that the controller would ask for."""
        replicas, engines = signals.replicas, list(signals.engines.values())
        if not engines or len(engines) != replicas.asked:
            return replicas.asked
        held = (signals.demand.held if signals.demand else 0) / len(engines)
        free = [
            (_KV_LIMIT - engine.kv_usage, _QUEUE_LIMIT - engine.waiting - held)
            for engine in engines
            if engine.kv_usage < _KV_LIMIT and engine.waiting + held < _QUEUE_LIMIT
        ]
        count = max(1, len(free))
        kv, queue = sum(kv for kv, _ in free) / count, sum(queue for _, queue in free) / count
        if kv < _KV_SPARE or queue < _QUEUE_SPARE:
            return min(self.most, replicas.asked + 1)
        if len(free) < _LEAST_UNSATURATED:
            return replicas.asked
        factor = len(free) / (len(free) - 1)
        kv_left = _KV_LIMIT - (_KV_LIMIT - kv) * factor
        queue_left = _QUEUE_LIMIT - (_QUEUE_LIMIT - queue) * factor
        safe = kv_left >= _KV_SPARE and queue_left >= _QUEUE_SPARE
        return max(self.least, replicas.asked - 1) if safe else replicas.asked


def saturation() -> Callable[[Setup], Saturation]:
    """Return a maker of the policy."""
    return lambda setup: Saturation(max(1, setup.least), setup.most)
