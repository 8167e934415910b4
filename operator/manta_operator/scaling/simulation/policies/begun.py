"""A policy whose deployment is made when the trace begins: it has seen nothing before. Effects: the policy's memory."""

from dataclasses import dataclass

from manta_operator.scaling.signals import Signals
from manta_operator.scaling.simulation.fleet import Setup
from manta_operator.scaling.simulation.policies.base import Policy
from manta_operator.scaling.simulation.run import Make


@dataclass
class Begun:
    """`begin`: when it is asked for the first time (s); until then replicas stay. `interval`: the policy's."""

    policy: Policy
    begin: float
    interval: float

    def decide(self, signals: Signals) -> int:
        """Return what the policy says, once it has begun."""
        return self.policy.decide(signals) if signals.now >= self.begin else signals.replicas.asked


def begun(make: Make, begin: float) -> Make:
    """Return a maker of the policy that begins then."""

    def made(setup: Setup) -> Policy:
        policy = make(setup)
        return Begun(policy, begin, policy.interval)

    return made
