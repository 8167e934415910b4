"""A fixed number of replicas, and a timetable (how the oracle's answer is played). Pure."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from manta_operator.scaling.signals import Signals
from manta_operator.scaling.simulation.fleet import Setup


@dataclass
class Fixed:
    """Always the same number."""

    replicas: int
    interval: float = 60.0

    def decide(self, signals: Signals) -> int:
        """Return it."""
        del signals
        return self.replicas


@dataclass
class Timetable:
    """`replicas[i]` from `i` x `interval` seconds on."""

    replicas: Sequence[int]
    interval: float

    def decide(self, signals: Signals) -> int:
        """Return what the timetable says for now."""
        index = round(signals.now / self.interval)
        return self.replicas[min(index, len(self.replicas) - 1)]


def fixed(replicas: int) -> Callable[[Setup], Fixed]:
    """Return a maker of the policy that keeps so many."""
    return lambda setup: Fixed(min(setup.most, replicas))
