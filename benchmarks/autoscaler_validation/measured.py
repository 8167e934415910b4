"""What two runs of the same requests came to, side by side. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from manta_operator.scaling.simulation.compare import quantile

if TYPE_CHECKING:
    from collections.abc import Sequence

    from manta_operator.scaling.simulation.model import EngineModel
    from manta_operator.scaling.simulation.outcome import Outcome, Slo

QUANTILES = (0.5, 0.9, 0.99)


@dataclass(frozen=True)
class Measured:
    """Times in seconds, virtual ones. `moments`: when how many replicas were asked for; `took`: seconds of the run."""

    requests: int
    first_token: tuple[float, ...]
    answer: tuple[float, ...]
    tokens_per_s: float
    in_time: float
    moments: tuple[tuple[float, int], ...] = ()
    replica_hours: float = 0.0
    took: float = 0.0

    def as_json(self) -> dict[str, Any]:
        """Return the numbers, without the moments."""
        return {name: value for name, value in vars(self).items() if name != "moments"}


def of(outcome: Outcome, slo: Slo, model: EngineModel, took: float) -> Measured:
    """Return what a simulated run came to."""
    jobs = [job for job in outcome.jobs if job.ended >= 0]
    rows = [(job.request.at, job.first, job.ended, job.request.output_tokens) for job in jobs]
    moments = tuple((moment.at, moment.asked) for moment in outcome.moments)
    return summed(rows, outcome.attainment(slo, model), moments, outcome.replica_hours(), took)


def summed(
    rows: Sequence[tuple[float, float, float, int]],
    in_time: float,
    moments: tuple[tuple[float, int], ...] = (),
    hours: float = 0.0,
    took: float = 0.0,
) -> Measured:
    """Return what requests came to: rows of arrival, first token and end (s), and tokens of the answer."""
    first = sorted(row[1] - row[0] for row in rows)
    answer = sorted(row[2] - row[0] for row in rows)
    seconds = max(row[2] for row in rows) - min(row[0] for row in rows)
    return Measured(
        len(rows),
        tuple(round(quantile(first, share), 3) for share in QUANTILES),
        tuple(round(quantile(answer, share), 3) for share in QUANTILES),
        round(sum(row[3] for row in rows) / seconds, 2),
        round(in_time, 4),
        moments,
        round(hours, 3),
        round(took, 2),
    )


def apart(ours: tuple[tuple[float, int], ...], theirs: tuple[tuple[float, int], ...]) -> float:
    """Return by how many replicas the two differ on average, over the moments of both."""
    pairs = list(zip(ours, theirs, strict=False))
    return sum(abs(a[1] - b[1]) for a, b in pairs) / len(pairs) if pairs else 0.0
