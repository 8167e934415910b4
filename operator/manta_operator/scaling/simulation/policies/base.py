"""What a policy is: asked at its interval, it says how many replicas there should be. Effects: its own memory."""

from typing import Protocol

from manta_operator.scaling.signals import Signals


class Policy(Protocol):
    """`interval`: seconds between decisions."""

    interval: float

    def decide(self, signals: Signals) -> int:
        """Return how many replicas there should be; the run keeps it within the setup's bounds."""
        ...


def in_flight(signals: Signals) -> int:
    """Return the requests that are somewhere in the deployment: in engines, or held by its routers."""
    return signals.demand.in_flight + signals.demand.held if signals.demand else 0


def queued(signals: Signals) -> int:
    """Return the requests that nobody computes yet: waiting in engines, or held by routers."""
    held = signals.demand.held if signals.demand else 0
    return held + sum(engine.waiting for engine in signals.engines.values())
