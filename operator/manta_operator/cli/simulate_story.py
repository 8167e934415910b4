"""What a simulation came to: for people facts and a table, for scripts plain values. Pure.

What it means in sentences says simulate_meaning.py.
"""

from collections.abc import Sequence
from typing import Any

from manta_operator.cli.simulate_case import Case
from manta_operator.cli.table import Cell, Column
from manta_operator.scaling.simulation.compare import Compared, Row
from manta_operator.scaling.simulation.forms import Parsed
from manta_operator.scaling.simulation.policies.manta import estimate
from manta_operator.scaling.simulation.scene import Scene
from manta_operator.scaling.simulation.trace import Request

_LITTLE = 0.75
"""Replicas of the busiest minute: with fewer there is nothing to scale."""
_CACHED = 0.2


def facts(case: Case, scene: Scene, parsed: Parsed) -> dict[str, str]:
    """Return what is simulated, by name."""
    setup, slo, per = case.setup, case.slo, estimate(case.setup.model, 0.0)
    each = f", each {case.gpus} {case.unit}{'s' * (case.gpus > 1)}" if case.unit == "GPU" else ""
    rates = f"{per.prefill_tokens_per_s:.0f} tokens of prompts or {per.decode_tokens_per_s:.0f} of answers a second"
    return {
        "trace": f"{scene.name} ({parsed.form}): {_requests(scene, parsed)}",
        "engine": f"{case.name + ': ' if case.name else ''}{rates} when it is full{_as_planned(case)}; {case.told}",
        "load": f"fills {scene.mean:.2f} replicas on average, {scene.peak:.2f} in the busiest minute",
        "replicas": f"{setup.least} to {setup.most}{each}, {setup.cold_start:g} s to start",
        "in time": f"first token within {slo.base:g} s and twice what its prompt takes alone, then {slo.between:g} s a "
        f"token; asked: {slo.objective:.0%} of them",
    }


def _as_planned(case: Case) -> str:
    """Put the engine's speed beside that of `manta plan`, which counts answers while prompts are computed, too."""
    known = case.planned
    if known is None:
        return ""
    mixed = known.answer / case.setup.model.work(Request(0.0, known.prompt, known.answer))
    return (
        f", or {mixed:.0f} of answers where each has {known.answer} tokens and a prompt of {known.prompt} to compute "
        f"(`manta plan`, tokens/s at most: {known.together.value:.0f})"
    )


def _requests(scene: Scene, parsed: Parsed) -> str:
    times = f" ({scene.times:.3g} x the trace)" if scene.times != 1 else ""
    parts = [f"{scene.requests} requests{times} in {_long(scene.seconds)}"]
    if scene.begin:
        parts.append(f"after {_long(scene.begin)} of past, the trace's own beginning")
    if scene.refused:
        parts.append(f"without {scene.refused} that no engine can hold")
    if parsed.left_out:
        parts.append(f"{parsed.left_out} other line{'s' * (parsed.left_out > 1)} left out")
    return ", ".join(parts)


def warnings(scene: Scene, parsed: Parsed) -> list[str]:
    """Return what makes the numbers say less than they seem to."""
    found = []
    if scene.peak < _LITTLE:
        found.append(
            f"There is little to scale: the busiest minute fills {scene.peak:.2f} of a replica. --times or --peak make "
            "the trace larger."
        )
    if parsed.cached > _CACHED:
        found.append(
            f"{parsed.cached:.0%} of the prompts' tokens came from prefix caches, which are not simulated: fewer "
            "replicas will do than is said here."
        )
    return found


def table(compared: Compared, case: Case, *, wide: bool) -> tuple[list[Column], list[list[str | Cell]]]:
    """Return columns and rows, a policy each."""
    columns = [
        Column("POLICY"), Column("IN TIME"), Column(f"{case.unit.upper()}-HOURS"), Column("OF ORACLE"),
        Column("COST"), Column("WASTE", 2), Column("REACTION", 3), Column("MOST", 1), Column("FIRST TOKEN P50", 5),
        Column("P99", 4), Column("PARETO", 6),
    ]  # fmt: skip
    return columns, [_cells(name, row, case, wide=wide) for name, row in compared.rows.items()]


def _cells(name: str, row: Row, case: Case, *, wide: bool) -> list[str | Cell]:
    share, cost = row["gpu_hours_over_oracle"], _cost(row, case)
    more = [f"{row['ttft_p50_s']:.2f} s", f"{row['ttft_p99_s']:.2f} s", "yes" if row["pareto"] else "no"]
    return [
        name,
        Cell(f"{row['slo_attainment']:.2%}", "green" if row["slo_attainment"] >= case.slo.objective else "red"),
        f"{row['gpu_hours']:.2f}",
        "" if share is None else f"{share:.2f}",
        "" if cost is None else f"{cost:.2f}",
        f"{row['waste']:.0%}",
        f"{row['reaction_s']:.0f} s",
        str(row["most_replicas"]),
        *(more if wide else [""] * len(more)),
    ]


def as_json(
    compared: Compared, case: Case, scene: Scene, parsed: Parsed, seconds: float, sentences: Sequence[str]
) -> dict[str, Any]:
    """Return everything as plain values; what is not known is null. Times in seconds; `sentences`: what it means."""
    setup, slo = case.setup, case.slo
    return {
        "trace": {
            "name": scene.name,
            "form": parsed.form,
            "requests": scene.requests,
            "seconds": round(scene.seconds, 1),
            "pastSeconds": round(scene.begin, 1),
            "times": round(scene.times, 4),
            "refused": scene.refused,
            "leftOut": parsed.left_out,
            "meanReplicas": round(scene.mean, 3),
            "peakReplicas": round(scene.peak, 3),
        },
        "deployment": case.name or None,
        "engine": case.told,
        "minReplicas": setup.least,
        "maxReplicas": setup.most,
        "gpus": case.gpus,
        "coldStartSeconds": setup.cold_start,
        "firstTokenSeconds": slo.base,
        "betweenTokensSeconds": slo.between,
        "objective": slo.objective,
        "policies": {name: _row_as_json(row, case) for name, row in compared.rows.items()},
        "gpuHoursAtLeast": round(compared.bound, 3),
        "meaning": [*warnings(scene, parsed), *sentences],
        "wallSeconds": round(seconds, 2),
        "timesRealTime": round(faster(compared, scene, seconds)),
    }


def _row_as_json(row: Row, case: Case) -> dict[str, Any]:
    return {
        "sloAttainment": row["slo_attainment"],
        "gpuHours": row["gpu_hours"],
        "gpuHoursOverOracle": row["gpu_hours_over_oracle"],
        "cost": _cost(row, case),
        "waste": row["waste"],
        "reactionSeconds": row["reaction_s"],
        "firstTokenP50Seconds": row["ttft_p50_s"],
        "firstTokenP99Seconds": row["ttft_p99_s"],
        "cutOff": row["cut_off"],
        "mostReplicas": row["most_replicas"],
        "pareto": row["pareto"],
    }


def faster(compared: Compared, scene: Scene, seconds: float) -> float:
    """Return how many times faster than real time it was: what was simulated over what it took; the oracle is one."""
    return len(compared.rows) * (scene.seconds + scene.begin) / max(seconds, 1e-3)


def ended(compared: Compared, scene: Scene, seconds: float) -> str:
    """Say how long it took."""
    times = f"{faster(compared, scene, seconds):,.0f} times as fast as time passes"
    return f"simulated {len(compared.rows)} times {_long(scene.seconds + scene.begin)} in {seconds:.1f} s: {times}"


def _cost(row: Row, case: Case) -> float | None:
    return None if case.per_hour is None else round(row["gpu_hours"] * case.per_hour, 2)


def _long(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} minutes" if seconds < 7200 else f"{seconds / 3600:.1f} hours"
