"""Deployments that scale themselves on an API server where pods are played: each with a router of the test's own."""

import contextlib
from dataclasses import dataclass

from cluster_space import Space
from scaling_router import Router

FAST = {"stabilisationSeconds": 0, "downSeconds": 1, "downPercent": 100}
"""Down as soon as the demand is down: whoever stays up has a reason."""


@dataclass
class Scaled:
    """One of them."""

    space: Space
    name: str
    router: Router

    @property
    def groups(self):
        """Names of the StatefulSets that are to stay."""
        return self.space.groups(self.name)

    @property
    def asked(self):
        """status.autoscaling.replicas; LookupError before there is one."""
        return self.space.status(self.name)["autoscaling"]["replicas"]

    def look(self):
        """Let the router see the replicas that serve; their number."""
        names = [pod["metadata"]["name"] for pod in self.space.pods(self.name) if _is_ready(pod)]
        self.router.engines = [name.rpartition("-")[0] for name in names]
        return len(names)

    def serves(self, replicas, seconds=60):
        """Wait until so many serve, and no other is there."""

        def holds():
            return self.look() == replicas == len(self.groups)

        self.space.until(f"{replicas} replicas of {self.name} serve", holds, seconds)

    def autoscaled(self, status, reason, seconds=60):
        """Wait for the condition; return it."""
        return self.space.becomes(self.name, "Autoscaled", status, reason, seconds)


@contextlib.contextmanager
def scaled(space, *names, spec=None, **autoscaling):
    """Deployments of these names, each with its router, which sees nothing yet.

    `spec`: further fields of them; `autoscaling`: fields of spec.autoscaling.
    """
    made = []
    try:
        for name in names:
            router = Router(f"{space.name}/{name}").start()
            space.played.at(f"{name}-router", router.address)
            made.append(Scaled(space, name, router))
            wish = {"minReplicas": 1, "maxReplicas": 8, "behaviour": FAST} | autoscaling
            space.make(name, autoscaling=wish, **(spec or {}))
        yield made
    finally:
        for each in made:
            each.router.stop()


def _is_ready(pod):
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)
