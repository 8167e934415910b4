"""KubeAI's autoscaler, written again from its source. Effects: its own memory.

kubeai-project/kubeai at f442a2c (2025-10, 0.22.1), `internal/modelautoscaler`, `internal/movingaverage/simple.go`,
`internal/modelclient/scale.go`; defaults of `charts/kubeai/values.yaml` and `api/k8s/v1/model_types.go`.

    average = mean of the requests in flight over 10 minutes, a sample every 10 s, begun with zeros
    desired = ceil(average / target)
    down    once it was wanted ceil(30 s / 10 s) times before; up, or the same, begins the count anew
"""

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from manta_operator.scaling.signals import Signals
from manta_operator.scaling.simulation.fleet import Setup
from manta_operator.scaling.simulation.policies.base import in_flight

_SAMPLES = 60
_SCALE_DOWNS = 3


@dataclass
class KubeAi:
    """`target`: requests in flight for each replica (KubeAI's default: 100)."""

    target: float
    least: int
    most: int
    interval: float = 10.0
    _seen: deque[float] = field(default_factory=lambda: deque([0.0] * _SAMPLES, maxlen=_SAMPLES))
    _downs: int = 0

    def decide(self, signals: Signals) -> int:
        """Return the replicas that the controller would write."""
        self._seen.append(float(in_flight(signals)))
        desired = min(self.most, max(self.least, math.ceil(sum(self._seen) / _SAMPLES / self.target)))
        if desired >= signals.replicas.asked:
            self._downs = 0
            return desired
        if self._downs < _SCALE_DOWNS:
            self._downs += 1
            return signals.replicas.asked
        return desired


def kubeai(target: float) -> Callable[[Setup], KubeAi]:
    """Return a maker of the policy."""
    return lambda setup: KubeAi(target, max(1, setup.least), setup.most)
