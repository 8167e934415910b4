"""Every policy on one scene with one cold start, against the oracle: rows of numbers. Pure."""

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from manta_operator.scaling.simulation.fleet import Setup
from manta_operator.scaling.simulation.outcome import Outcome, Slo, reaction
from manta_operator.scaling.simulation.policies import oracle
from manta_operator.scaling.simulation.policies.begun import begun
from manta_operator.scaling.simulation.policies.catalogue import BEST, SWEEP, SWEPT, concurrency, peer, policies
from manta_operator.scaling.simulation.run import Make, run
from manta_operator.scaling.simulation.scene import Scene
from manta_operator.scaling.simulation.trace import before

Row = dict[str, Any]
OURS, ORACLE = "manta", "oracle"
UNLEARNED = "manta-no-past"
"""Our own policy in a deployment that was made when the trace begins: it has seen nothing."""
_FIRST_MINUTE = 60.0
_HALVED = 2
"""How often a sweep goes on between its best and the next larger target, which costs less."""
_FULL = 0.75


@dataclass(frozen=True)
class Compared:
    """Rows and outcomes by policy, the oracle's among them; `load`: replicas that the arriving work fills, in bins.

    `bound`: GPU-hours that no policy can do with less than.
    """

    rows: Mapping[str, Row]
    outcomes: Mapping[str, Outcome]
    load: Sequence[float]
    bound: float


def compare(
    scene: Scene,
    setup: Setup,
    slo: Slo,
    names: Sequence[str],
    *,
    ours: Make | None = None,
    more: Mapping[str, Make] = MappingProxyType({}),
    gpus: int = 1,
    told: Callable[[str], None] = lambda _: None,
) -> Compared:
    """Run the oracle and the policies of these names.

    Args:
        scene: The requests.
        setup: Engine, cold start and bounds; how many replicas there are at first comes from the first minute.
        slo: What is expected of an answer.
        names: Of the policies, UNLEARNED too; in this order.
        ours: Makes our own policy; None: with its defaults.
        more: Other policies of these names, after them. They are weighed with nobody.
        gpus: Of a replica.
        told: Is called with the name of each run before it begins.
    """
    load = oracle.load(scene.trace, setup)
    started = replace(setup, initial=_initial(load, setup))
    told(ORACLE)
    outcomes = {ORACLE: oracle.best(scene.trace, started, slo, scene.begin).outcome}
    makers = {**policies(scene.trace, started, scene.mean, scene.peak), **({OURS: ours} if ours else {}), **more}
    scales: dict[str, float] = {}
    for name in (*names, *more):
        told(name)
        if name in SWEPT:
            scales[name], outcomes[name] = _swept(scene, started, slo, name.removesuffix(BEST))
        elif name == UNLEARNED:
            outcomes[name] = _unlearned(scene, setup, load, makers[OURS])
        else:
            outcomes[name] = run(scene.trace, makers[name], started, scene.begin)
    rows = {name: _row(outcome, started, slo, load, gpus) for name, outcome in outcomes.items()}
    _weigh(rows, scales, {ORACLE, UNLEARNED, *more})
    return Compared(rows, outcomes, load, oracle.bound(load, started, scene.begin) * gpus)


def _initial(load: Sequence[float], setup: Setup) -> int:
    """Return the replicas that the first minute of this load fills to 75 %."""
    first = load[: round(_FIRST_MINUTE / oracle.BIN_SECONDS)]
    return max(1, setup.least, min(setup.most, round(sum(first) / len(first) / _FULL)))


def _weigh(rows: Mapping[str, Row], scales: Mapping[str, float], aside: Set[str]) -> None:
    """Add to each row what it is beside the others but those `aside`, and of a sweep which multiple of the target."""
    best = rows[ORACLE]["gpu_hours"]
    for name, row in rows.items():
        row["gpu_hours_over_oracle"] = round(row["gpu_hours"] / best, 4) if best else None
        others = [other for key, other in rows.items() if key != name and key not in aside]
        row["pareto"] = not any(_dominates(other, row) for other in others)
        if name in scales:
            row["target_times"] = round(scales[name], 4)


def _unlearned(scene: Scene, setup: Setup, load: Sequence[float], make: Make) -> Outcome:
    counted = load[round(scene.begin / oracle.BIN_SECONDS) :]
    requests = scene.trace[len(before(scene.trace, scene.begin)) :]
    return run(requests, begun(make, scene.begin), replace(setup, initial=_initial(counted, setup)), scene.begin)


def _swept(scene: Scene, setup: Setup, slo: Slo, name: str) -> tuple[float, Outcome]:
    """Return the multiple of the peer's target that does best on the very requests that are judged, and its run."""
    concurrent = concurrency(scene.trace, setup)

    def tried(times: float) -> tuple[tuple[float, float], float, Outcome]:
        outcome = run(scene.trace, peer(name, concurrent, times), setup, scene.begin)
        kept = min(slo.objective, outcome.attainment(slo, setup.model))
        return (kept, -outcome.replica_hours()), times, outcome

    best = max((tried(times) for times in SWEEP), key=lambda each: each[0])
    low, high = best[1], min((times for times in SWEEP if times > best[1]), default=best[1] * 2)
    for _ in range(_HALVED):
        found = tried((low + high) / 2)
        if found[0] > best[0]:
            best, low = found, found[1]
        else:
            high = found[1]
    return best[1], best[2]


def quantile(ordered: Sequence[float], share: float) -> float:
    """Return the smallest of the ordered values that at least `share` of them do not exceed; 0 if there are none."""
    return ordered[max(0, -int(-share * len(ordered) // 1) - 1)] if ordered else 0.0


def _row(outcome: Outcome, setup: Setup, slo: Slo, load: Sequence[float], gpus: int) -> Row:
    """GPU-hours: of all replicas. `waste`: the share of them that no work filled."""
    hours = outcome.replica_hours()
    first = sorted(job.first - job.request.at for job in outcome.jobs if job.first >= 0)
    begin = round(outcome.begin / oracle.BIN_SECONDS)
    work = sum(load[begin:]) * oracle.BIN_SECONDS / 3600
    return {
        "slo_attainment": round(outcome.attainment(slo, setup.model), 4),
        "gpu_hours": round(hours * gpus, 3),
        "reaction_s": round(reaction(outcome.moments, load, oracle.BIN_SECONDS, outcome.begin), 1),
        "waste": round(max(0.0, 1 - work / hours) if hours else 0.0, 4),
        "ttft_p50_s": round(quantile(first, 0.5), 3),
        "ttft_p99_s": round(quantile(first, 0.99), 3),
        "cut_off": outcome.cut,
        "most_replicas": max((moment.total for moment in outcome.moments), default=0),
    }


def _dominates(other: Row, row: Row) -> bool:
    better = other["slo_attainment"] - row["slo_attainment"], row["gpu_hours"] - other["gpu_hours"]
    return bool(min(better) >= 0 and max(better) > 0)
