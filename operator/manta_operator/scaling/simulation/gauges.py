"""What the simulated routers and engines would say of themselves: `Signals`, as the operator reads them. Pure."""

from bisect import bisect_left
from collections.abc import Iterable

from manta_operator.scaling.signals import Demand, EngineSignals, Histogram, Replicas, Signals
from manta_operator.scaling.simulation.fleet import Fleet
from manta_operator.scaling.simulation.replica import BETWEEN_BOUNDS, Job, Replica
from manta_operator.scaling.simulation.trace import Request

_BOUNDS = (
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80, 160, 640, 2560,
)  # fmt: skip
"""vLLM's own buckets of the time to first token."""


class Gauges:
    """Counts what passes the router; reads the fleet when asked."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._requests = self._tokens_in = self._tokens_out = self._answers = 0
        self._pairs = 0.0
        self._first_tokens: dict[int, tuple[int, list[int]]] = {}

    def arrived(self, request: Request) -> None:
        """A request came to the router."""
        self._requests += 1
        self._tokens_in += request.prompt_tokens
        self._pairs += request.prompt_tokens**2 / 2

    def ended(self, jobs: Iterable[Job]) -> None:
        """Answers have ended."""
        for job in jobs:
            self._answers += 1
            self._tokens_out += job.request.output_tokens

    def read(self, now: float) -> Signals:
        """Return what a scrape would see now. The cold start is that of the setup, once a start has ended."""
        fleet = self._fleet
        in_flight = sum(replica.in_flight for replica in (*fleet.serving, *fleet.draining))
        age = now - fleet.held[0].request.at if fleet.held else 0.0
        demand = Demand(
            self._requests,
            self._tokens_in,
            self._tokens_out,
            self._answers,
            in_flight,
            len(fleet.held),
            age,
            self._pairs,
        )
        engines = {f"r{replica.index}": self._engine(replica) for replica in fleet.serving}
        replicas = Replicas(fleet.asked, len(fleet.serving), len(fleet.starting), fleet.unschedulable)
        return Signals(now, replicas, demand, engines, fleet.setup.cold_start)

    def _engine(self, replica: Replica) -> EngineSignals:
        counters = replica.counters
        read, counts = self._first_tokens.get(replica.index) or (0, [0] * (len(_BOUNDS) + 1))
        for seconds in counters.first_tokens[read:]:
            counts[bisect_left(_BOUNDS, seconds)] += 1
        self._first_tokens[replica.index] = (len(counters.first_tokens), counts)
        return EngineSignals(
            len(replica.waiting),
            replica.running,
            replica.held_tokens / replica.model.kv_tokens,
            counters.prompt_tokens,
            counters.generated_tokens,
            Histogram(_BOUNDS, tuple(counts)),
            Histogram(BETWEEN_BOUNDS, tuple(counters.between)),
        )
