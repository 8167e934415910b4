"""Every policy on one scene with one cold start, against the oracle: rows of numbers. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from manta_operator.scaling.simulation.outcome import Outcome, Slo, reaction
from manta_operator.scaling.simulation.policies import oracle
from manta_operator.scaling.simulation.policies.catalogue import policies
from manta_operator.scaling.simulation.run import run

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from autoscaler.scene import Scene
    from manta_operator.scaling.simulation.fleet import Setup

Row = dict[str, Any]
_FIRST_MINUTE = 60.0
_FULL = 0.75


@dataclass(frozen=True)
class Compared:
    """Rows and outcomes by policy, the oracle's among them; `load`: replicas that the arriving work fills, in bins."""

    rows: Mapping[str, Row]
    outcomes: Mapping[str, Outcome]
    load: Sequence[float]
    bound: float


def compare(scene: Scene, setup: Setup, slo: Slo, names: Sequence[str]) -> Compared:
    """Run the oracle and the policies of these names."""
    load = oracle.load(scene.trace, setup)
    first = load[: round(_FIRST_MINUTE / oracle.BIN_SECONDS)]
    initial = max(setup.least, min(setup.most, round(sum(first) / len(first) / _FULL)))
    started = replace(setup, initial=max(1, initial))
    best = oracle.best(scene.trace, started, slo, scene.begin)
    outcomes = {"oracle": best.outcome}
    for name, make in policies(scene.trace, started, scene.mean, scene.peak).items():
        if name in names:
            outcomes[name] = run(scene.trace, make, started, scene.begin)
    rows = {name: _row(outcome, started, slo, load) for name, outcome in outcomes.items()}
    for row in rows.values():
        row["gpu_hours_over_oracle"] = round(row["gpu_hours"] / rows["oracle"]["gpu_hours"], 4)
    for name, row in rows.items():
        others = [other for key, other in rows.items() if key not in (name, "oracle")]
        row["pareto"] = not any(_dominates(other, row) for other in others)
    return Compared(rows, outcomes, load, oracle.bound(load, started, scene.begin))


def quantile(ordered: Sequence[float], share: float) -> float:
    """Return the smallest of the ordered values that at least `share` of them do not exceed; 0 if there are none."""
    return ordered[max(0, -int(-share * len(ordered) // 1) - 1)] if ordered else 0.0


def _row(outcome: Outcome, setup: Setup, slo: Slo, load: Sequence[float]) -> Row:
    """GPU-hours: one GPU a replica. `waste`: the share of them that no work filled."""
    hours = outcome.replica_hours()
    first = sorted(job.first - job.request.at for job in outcome.jobs if job.first >= 0)
    begin = round(outcome.begin / oracle.BIN_SECONDS)
    work = sum(load[begin:]) * oracle.BIN_SECONDS / 3600
    return {
        "slo_attainment": round(outcome.attainment(slo, setup.model), 4),
        "gpu_hours": round(hours, 3),
        "reaction_s": round(reaction(outcome.moments, load, oracle.BIN_SECONDS, outcome.begin), 1),
        "waste": round(max(0.0, 1 - work / hours) if hours else 0.0, 4),
        "ttft_p50_s": round(quantile(first, 0.5), 3),
        "ttft_p99_s": round(quantile(first, 0.99), 3),
        "most_replicas": max((moment.total for moment in outcome.moments), default=0),
    }


def _dominates(other: Row, row: Row) -> bool:
    better = other["slo_attainment"] - row["slo_attainment"], row["gpu_hours"] - other["gpu_hours"]
    return min(better) >= 0 and max(better) > 0
