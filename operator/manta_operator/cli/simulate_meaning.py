"""What a simulation means, in sentences: whether the objective is kept, who does better, and what would help. Pure."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

from manta_operator.cli.simulate_case import Case
from manta_operator.scaling.simulation.compare import ORACLE, OURS, Compared, Row
from manta_operator.scaling.simulation.policies.catalogue import BEST

_SAME = 0.005


def meaning(compared: Compared, case: Case, holds: Sequence[float]) -> list[str]:
    """Return the sentences. `holds`: the stabilisation windows that our policy chose, or was given (s)."""
    rows, objective = compared.rows, case.slo.objective
    ours, best = rows[OURS], rows[ORACLE]
    share = ours["gpu_hours_over_oracle"]
    text = f"With {OURS}, {ours['slo_attainment']:.2%} of the requests are answered in time for {_hours(ours, case)}"
    if share is not None:
        text += f", {share:.2f} times what the oracle needs, which knows the trace beforehand"
    others = {name: row for name, row in rows.items() if name not in (OURS, ORACLE)}
    found = [f"{text}. {_kept(ours, others, case)}"]
    if best["slo_attainment"] < objective:
        found.append(
            f"Not even the oracle keeps {_percent(objective)} in time with at most {case.setup.most} replicas: allow "
            "more (maxReplicas, --max), or expect less."
        )
    elif ours["slo_attainment"] < objective:
        found.append(
            f"What is late came while replicas started ({case.setup.cold_start:g} s) or were not asked for yet: a "
            f"shorter start (docs/cold-start.md), a higher minReplicas, {_longer(holds, case)} or a lower "
            "utilisationPercent buys it."
        )
    if ours["cut_off"]:
        found.append(
            f"{ours['cut_off']} of the requests with {OURS} were cut off on the way down: their answers take longer "
            f"than rollout.drainSeconds ({case.setup.drain:g}): allow what the longest takes."
        )
    return [*found, *_never_zero(compared, case)]


def _kept(ours: Row, others: Mapping[str, Row], case: Case) -> str:
    """Say whether ours keeps the objective, who of the others does, and who is better in everything."""
    objective = case.slo.objective
    asked, misses = _percent(objective), ours["slo_attainment"] < objective
    begin = f"That misses the {asked} asked for. " if misses else ""
    if not others:
        return f"{begin}No other policy was asked for."
    enough = {name: row for name, row in others.items() if row["slo_attainment"] >= objective}
    if enough:
        name, row = min(enough.items(), key=lambda each: float(each[1]["gpu_hours"]))
        text = f"Of the others, {_named(name)} keeps it and is the cheapest that does, {_against(row, ours, case)}."
        if not misses:
            text = f"Of the others that keep {asked}, {_named(name)} is the cheapest, {_against(row, ours, case)}."
        return f"{begin}{text}{_dominated(ours, others, but=name)}"
    name, row = max(others.items(), key=lambda each: float(each[1]["slo_attainment"]))
    none = f"{'Nor does any' if misses else 'None'} of the other policies{'' if misses else f' keeps {asked} in time'}"
    near = f"the nearest is {_named(name)} with {row['slo_attainment']:.2%}, {_against(row, ours, case)}"
    return f"{begin}{none}; {near}.{_dominated(ours, others, but='')}"


def _dominated(ours: Row, others: Mapping[str, Row], *, but: str) -> str:
    """Name one that is as good in both and better in one, unless it was just told of as cheaper and in time."""
    for name, row in others.items():
        better = row["slo_attainment"] - ours["slo_attainment"], ours["gpu_hours"] - row["gpu_hours"]
        if min(better) >= 0 and max(better) > 0:
            who = "It" if name == but else f"{_named(name)} ({row['slo_attainment']:.2%})"
            return f" {who} does better than {OURS} here: no more late, for no more hours."
    return ""


def _longer(holds: Sequence[float], case: Case) -> str:
    """Name the window that there is, so that nobody buys a shorter one."""
    if not holds:
        return "a longer stabilisationSeconds"
    few, many = round(min(holds)), round(max(holds))
    span = f"{many} s" if few == many else f"{few} to {many} s"
    given = "that are set" if case.settings.behaviour.hold is not None else "that were chosen"
    return f"a longer stabilisationSeconds than the {span} {given}"


def _never_zero(compared: Compared, case: Case) -> list[str]:
    """Say so where zero was allowed and never reached: then it costs a replica, and saves nothing."""
    outcome = compared.outcomes[OURS]
    counted = [moment.asked for moment in outcome.moments if outcome.begin <= moment.at <= outcome.end]
    if case.setup.least or not counted or not min(counted):
        return []
    gap = max((late.request.at - early.request.at for early, late in pairwise(outcome.jobs)), default=0.0)
    return [
        f"minReplicas 0 was allowed and never reached: the longest time without a request is {gap:.0f} s, and "
        f"scaleToZero.afterSeconds is {case.settings.idle_seconds:g}. A shorter one saves the replica in between; each "
        f"request after it waits {case.setup.cold_start:g} s."
    ]


def _against(row: Row, ours: Row, case: Case) -> str:
    difference = row["gpu_hours"] / ours["gpu_hours"] - 1 if ours["gpu_hours"] else 0.0
    if abs(difference) < _SAME:
        return f"for as many {case.unit}-hours"
    return f"for {abs(difference):.0%} {'more' if difference > 0 else 'fewer'} {case.unit}-hours"


def _hours(row: Row, case: Case) -> str:
    return f"{row['gpu_hours']:.2f} {case.unit}-hours"


def _named(name: str) -> str:
    if name.startswith("fixed"):
        return f"{name} (it knows the trace)"
    return f"{name} (its target was chosen on these very requests)" if name.endswith(BEST) else name


def _percent(share: float) -> str:
    return f"{share * 100:g}%"
