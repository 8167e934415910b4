"""What the autoscaler is told: demand from the routers, saturation from the engines, and which replicas there are.

Everything is a value of one moment. Counters count since their source started and may begin again; what could not be
read, or is older than it may be, is None or left out: missing is missing, never zero. `decide.py` reads nothing else.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Histogram:
    """A Prometheus histogram as it is counted: `counts` per bucket (not cumulative), one more than there are bounds."""

    bounds: tuple[float, ...]
    counts: tuple[int, ...]

    def __post_init__(self) -> None:
        """Refuse counts that do not match the bounds: ValueError."""
        if len(self.counts) != len(self.bounds) + 1:
            raise ValueError(f"{len(self.bounds)} bounds need {len(self.bounds) + 1} counts, not {len(self.counts)}")

    @property
    def total(self) -> int:
        """How many observations there are."""
        return sum(self.counts)

    def within(self, limit: float) -> int:
        """Return how many observations are known to be at most `limit`: a bucket that holds it counts as above it."""
        return sum(count for bound, count in zip(self.bounds, self.counts, strict=False) if bound <= limit)

    def since(self, before: "Histogram | None") -> "Histogram":
        """Return what was observed after `before`; all of it where the engine started anew in between."""
        if before is None or before.bounds != self.bounds:
            return self
        counts = tuple(now - then for now, then in zip(self.counts, before.counts, strict=True))
        return self if min(counts) < 0 else Histogram(self.bounds, counts)


@dataclass(frozen=True, slots=True)
class Demand:
    """What the routers saw, all of them together. Counters since they started, but `in_flight`, `held` and `queue_age`.

    `requests`, `tokens_in`: of requests as they came; `tokens_out`: of answers that ended, `answers` of them.
    `in_flight`: in an engine now. `held`: waiting in a router now, the oldest for `queue_age` seconds.
    `pairs`: half the squares of the prompts' tokens, what their attention costs; 0 where no router counts them.
    `partial`: some router could not be read: there is at least this much.
    """

    requests: float
    tokens_in: float
    tokens_out: float
    answers: float
    in_flight: int
    held: int = 0
    queue_age: float = 0.0
    pairs: float = 0.0
    partial: bool = False


@dataclass(frozen=True, slots=True)
class EngineSignals:
    """What one ready replica's engine said. `kv_usage`: 0..1; times in seconds.

    Tokens are counters; None: it counts none, so that what waits there is known, and how fast it is cannot be learned.
    """

    waiting: int
    running: int
    kv_usage: float
    prompt_tokens: float | None
    generated_tokens: float | None
    first_token: Histogram | None = None
    between_tokens: Histogram | None = None


@dataclass(frozen=True, slots=True)
class Replicas:
    """How many there are: `asked` for, and of those `ready`, `starting`, and `unschedulable` (for want of a place).

    The API object says them, so they are always known. Those that drain are not counted: nobody can use them.
    """

    asked: int
    ready: int
    starting: int = 0
    unschedulable: int = 0


@dataclass(frozen=True, slots=True)
class Signals:
    """Everything of one moment. `now`: seconds of a clock that may jump. `demand`: None if no router could be read.

    `engines`: by name of the replica, those that are ready and answered lately. `cold_start`: seconds from asking to
    ready as this deployment's last starts took; None before the first. `rolling`: a rollout is under way, which needs
    what is asked for.
    """

    now: float
    replicas: Replicas
    demand: Demand | None
    engines: Mapping[str, EngineSignals] = field(default_factory=dict)
    cold_start: float | None = None
    rolling: bool = False
