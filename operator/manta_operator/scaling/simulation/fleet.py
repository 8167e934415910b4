"""Replicas that start, serve, drain and stop, and the router before them. Pure: whoever runs it says what time it is.

The router sends a request to the ready replica with the least work before it, and holds it, in order of arrival, while
there is none or each has `queue` requests waiting: what waits in a router goes to the next replica that is ready, what
waits in an engine stays. A scale-down takes those that start, then those with the least to finish; they drain, and what
they have not finished after `drain` seconds is cut off.
"""

from collections import deque
from dataclasses import dataclass, field

from manta_operator.scaling.simulation.model import EngineModel
from manta_operator.scaling.simulation.replica import Job, Replica


@dataclass(frozen=True)
class Setup:
    """What is simulated. `cold_start`: seconds from asking for a replica to its being ready. `initial`: ready at 0.

    `drain`: seconds in which a replica that is taken away may finish what it has (spec.rollout.drainSeconds).
    `queue`: requests that may wait in one engine; `places`: replicas the cluster has room for, the others never start.
    `engine`: what a replica is, for comparing this one with another.
    """

    model: EngineModel = field(default_factory=EngineModel)
    cold_start: float = 120.0
    drain: float = 60.0
    initial: int = 1
    most: int = 40
    least: int = 1
    queue: int = 4
    places: int = 1_000_000
    engine: type[Replica] = Replica


class Fleet:
    """The replicas of one deployment, and the requests a router holds."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.serving: list[Replica] = []
        self.starting: list[Replica] = []
        self.draining: list[Replica] = []
        self.stopped: list[Replica] = []
        self.unschedulable = 0
        self.held: deque[Job] = deque()
        self.asked = 0
        self.cut = 0
        self._made = 0
        self.ask(setup.initial, 0.0)
        for replica in tuple(self.starting):
            replica.ready_at = 0.0
            self.ready(replica)

    def ask(self, wanted: int, now: float) -> list[Replica]:
        """Make it `wanted` replicas; return those that begin to start."""
        self.asked = wanted
        new: list[Replica] = []
        while len(self.serving) + len(self.starting) + self.unschedulable < wanted:
            if len(self.serving) + len(self.starting) + len(self.draining) >= self.setup.places:
                self.unschedulable += 1
                continue
            self._made += 1
            replica = self.setup.engine(self._made, self.setup.model, now, now + self.setup.cold_start)
            self.starting.append(replica)
            new.append(replica)
        for _ in range(len(self.serving) + len(self.starting) + self.unschedulable - wanted):
            self._remove_one(now)
        return new

    def ready(self, replica: Replica) -> None:
        """A start has ended. It may have been given up before."""
        if replica in self.starting:
            self.starting.remove(replica)
            self.serving.append(replica)

    def choose(self) -> Replica | None:
        """Return the replica with the least work before it; None while each has enough that waits."""
        best, least = None, 0.0
        model, queue = self.setup.model, self.setup.queue
        for replica in self.serving:
            if len(replica.waiting) >= queue:
                continue
            load = replica.todo * model.per_prefill_token + replica.running * model.fixed
            if best is None or load < least:
                best, least = replica, load
        return best

    def ended(self, replica: Replica, now: float) -> None:
        """A replica finished something: one that drains stops when it has nothing left."""
        if replica.draining and not replica.in_flight:
            self.draining.remove(replica)
            replica.stopped_at = now
            self.stopped.append(replica)

    def late(self, now: float) -> list[Replica]:
        """Stop what has drained for too long; its requests never end. Return the replicas that had some."""
        late = [replica for replica in self.draining if now >= replica.drained_at + self.setup.drain]
        for replica in late:
            self.draining.remove(replica)
            replica.stopped_at, replica.due = now, -1.0
            self.stopped.append(replica)
            self.cut += replica.in_flight
        return late

    def every(self) -> list[Replica]:
        """Return all replicas there ever were."""
        return [*self.stopped, *self.draining, *self.serving, *self.starting]

    def _remove_one(self, now: float) -> None:
        if self.unschedulable:
            self.unschedulable -= 1
            return
        if self.starting:
            replica = self.starting.pop()
        else:
            replica = min(self.serving, key=lambda each: (each.in_flight, -each.index))
            self.serving.remove(replica)
        replica.draining, replica.drained_at = True, now
        self.draining.append(replica)
        self.ended(replica, now)
