"""What the autoscaler is told once: bounds, target, behaviour, and what the planner expects of a replica. Frozen."""

from dataclasses import dataclass, field

LOOK_SECONDS = 2.0
"""Between two looks, and so between two decisions: of the operator, of `manta simulate`, and of the benchmark."""


class SettingsError(ValueError):
    """A setting cannot be used; the message says which, why, and what would do."""


@dataclass(frozen=True)
class Estimate:
    """What a full replica does, as planned: prompt tokens and answer tokens a second; seconds of a start.

    `pair_seconds`: what attention adds for each pair of a prompt's tokens; it counts for prompts of 10^4 and more.
    `sequences`: the most that a replica computes at once; None: not known.
    """

    prefill_tokens_per_s: float
    decode_tokens_per_s: float
    cold_start: float = 120.0
    pair_seconds: float = 0.0
    sequences: int | None = None

    def __post_init__(self) -> None:
        """Refuse what nothing can be divided by. Raises SettingsError."""
        for name in ("prefill_tokens_per_s", "decode_tokens_per_s"):
            if not getattr(self, name) > 0:
                raise SettingsError(f"{name} is {getattr(self, name)}: the fit planner's estimate must be above 0")
        if not self.cold_start >= 0:
            raise SettingsError(f"cold_start is {self.cold_start}: seconds, at least 0")
        if self.sequences is not None and not self.sequences >= 1:
            raise SettingsError(f"sequences is {self.sequences}: at least 1")

    def prompts(self, tokens: float, pairs: float) -> float:
        """Return what prompts cost (s of a replica)."""
        return tokens / self.prefill_tokens_per_s + pairs * self.pair_seconds

    def answers(self, tokens: float) -> float:
        """Return what answers cost (s of a replica)."""
        return tokens / self.decode_tokens_per_s


@dataclass(frozen=True)
class Target:
    """How full replicas may be. `utilisation`: of what they can do, for demand that does not fluctuate at all.

    `first_token`: how long a first token may take (s); queues shorter than that hide fluctuation. `between_tokens`:
    how long tokens may take between each other (s), None: nobody minds. `objective`: the share of both that must hold.
    `spread`: standard deviations of the demand that are kept free. `measured`: what the engines measure of the two
    limits moves the need (objective.py); False: utilisation alone says it.
    """

    utilisation: float = 0.9
    first_token: float = 5.0
    between_tokens: float | None = None
    objective: float = 0.99
    spread: float = 1.5
    measured: bool = False

    def __post_init__(self) -> None:
        """Refuse targets that mean nothing. Raises SettingsError."""
        if not 0 < self.utilisation <= 1:
            raise SettingsError(f"utilisation is {self.utilisation}: above 0, at most 1")
        if not self.first_token > 0:
            raise SettingsError(f"first_token is {self.first_token}: seconds, above 0")
        if not 0 < self.objective < 1:
            raise SettingsError(f"objective is {self.objective}: a share, between 0 and 1")


@dataclass(frozen=True)
class Behaviour:
    """How fast it moves. Up: at most `up_share` of what there is, or `up_count`, the larger, in one interval.

    Down: at most `down_share` (at least one) in `down_seconds`. `hold`: seconds for which the highest need is kept
    (the stabilisation window); None: chosen from what the past would have needed (hindsight.py).
    """

    up_share: float = 4.0
    up_count: int = 10
    down_share: float = 0.5
    down_seconds: float = 60.0
    hold: float | None = None


@dataclass(frozen=True)
class Settings:
    """All of it. `least` 0 allows zero, after `idle_seconds` without any request. `interval`: between decisions (s).

    `fresh_seconds`: after so long without a look at the demand, what was seen before says nothing of now.
    """

    estimate: Estimate
    least: int = 1
    most: int = 10
    idle_seconds: float = 600.0
    interval: float = LOOK_SECONDS
    fresh_seconds: float = 60.0
    target: Target = field(default_factory=Target)
    behaviour: Behaviour = field(default_factory=Behaviour)
    predict: bool = True

    def __post_init__(self) -> None:
        """Refuse bounds that hold no number. Raises SettingsError."""
        if not 0 <= self.least <= self.most or self.most < 1:
            raise SettingsError(
                f"minReplicas {self.least} and maxReplicas {self.most}: 0 <= minReplicas <= maxReplicas, and at least 1"
            )
        if not self.interval > 0:
            raise SettingsError(f"interval is {self.interval}: seconds, above 0")
