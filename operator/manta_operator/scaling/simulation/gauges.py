"""What the simulated routers and engines would say of themselves: `Signals`, as the operator reads them. Pure.

As wrong as they are: routers guess the tokens of a prompt (up to a quarter off, by a hash of its number) until its
answer has ended, and never take back more than has come since; looks at engines are those of about a second ago.
"""

from bisect import bisect_left
from collections.abc import Iterable

from manta_operator.scaling.signals import Demand, EngineSignals, Histogram, Replicas, Signals
from manta_operator.scaling.simulation.fleet import Fleet
from manta_operator.scaling.simulation.replica import BETWEEN_BOUNDS, Job, Replica

_BOUNDS = (
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80, 160, 640, 2560,
)  # fmt: skip
"""vLLM's own buckets of the time to first token."""

_WRONG = 0.25
_GOLDEN = 0.6180339887
LATE_SECONDS = 1.0
"""How old a look at an engine is: the routers look once a second, and the operator asks them."""


class Gauges:
    """Counts what passes the router; reads the fleet when asked."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._requests = self._tokens_out = self._answers = 0
        self._tokens_in = self._pairs = self._told_in = self._told_pairs = 0.0
        self._looks: dict[int, EngineSignals] = {}
        self._first_tokens: dict[int, tuple[int, list[int]]] = {}

    def arrived(self, job: Job) -> None:
        """A request came to the router."""
        self._requests += 1
        self._counted(job, 1.0)

    def ended(self, jobs: Iterable[Job]) -> None:
        """Answers have ended, and their engines said how long the prompts were."""
        for job in jobs:
            self._answers += 1
            self._tokens_out += job.request.output_tokens
            self._counted(job, -1.0)
            self._tokens_in += job.request.prompt_tokens
            self._pairs += job.request.prompt_tokens**2 / 2

    def _counted(self, job: Job, sign: float) -> None:
        guessed = job.request.prompt_tokens * (1 - _WRONG + 2 * _WRONG * (job.order * _GOLDEN % 1.0))
        self._tokens_in += sign * guessed
        self._pairs += sign * guessed**2 / 2

    def look(self) -> None:
        """Look at the engines; `read` tells what was seen last."""
        self._looks = {replica.index: self._engine(replica) for replica in self._fleet.serving}

    def read(self, now: float) -> Signals:
        """Return what would be told now. The cold start is told from the beginning: the setup says it."""
        fleet = self._fleet
        in_flight = sum(replica.in_flight for replica in (*fleet.serving, *fleet.draining))
        age = now - fleet.held[0].request.at if fleet.held else 0.0
        self._told_in, self._told_pairs = max(self._told_in, self._tokens_in), max(self._told_pairs, self._pairs)
        demand = Demand(
            self._requests,
            self._told_in,
            self._tokens_out,
            self._answers,
            in_flight,
            len(fleet.held),
            age,
            self._told_pairs,
        )
        looks = self._looks
        engines = {f"r{replica.index}": looks[replica.index] for replica in fleet.serving if replica.index in looks}
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
