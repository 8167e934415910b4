"""A row for each scenario: what became of the requests, how fast it grew, how far, and what it cost. Pure."""

import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from rich.table import Table

from traffic.request import Outcome
from traffic.scaling.shapes import Shape
from traffic.scaling.timeline import Moment, numbers, reaction, replica_seconds, turns

Row = dict[str, Any]
MOST_REACTION_SECONDS = 5.0
"""From saturation to StatefulSets, as issue 7 asks for."""
MOST_WAKE_SECONDS = 1.0
MOST_FIRST_TOKEN_SECONDS = 2.0
"""Of a request at zero: to the StatefulSet; and to the first token, beyond the engine's own start."""


@dataclass(frozen=True)
class Run:
    """A scenario that began at `began` (monotonic seconds); `unanswered`: requests that nobody answered in the end."""

    name: str
    began: float
    shape: Shape | None = None
    unanswered: int = 0


def row(run: Run, outcomes: Sequence[Outcome], executed: Counter[str], moments: Sequence[Moment], ended: float) -> Row:
    """Return what a scenario came to. `executed`: how often an engine has begun each request."""
    before = [replace(each, at=run.began) for each in moments if each.at < run.began][-1:]
    seen = [*before, *(each for each in moments if each.at >= run.began)]
    grown = reaction(moments, _grows(run))
    firsts = [each.first for each in outcomes if each.first is not None]
    return {
        "scenario": run.name,
        "seconds": round(ended - run.began, 1),
        **fates(outcomes, executed, run.unanswered),
        "reaction_s": None if grown is None else round(grown.seconds, 2),
        "replicas": numbers(seen),
        "peak": max(each.groups for each in seen),
        "turns": turns(seen),
        "replica_seconds": round(replica_seconds(seen, ended)),
        "first_token_p50_s": round(statistics.median(firsts), 2) if firsts else None,
        "first_token_p99_s": round(statistics.quantiles(firsts, n=100)[98], 2) if len(firsts) > 1 else None,
        "saturated_s": round(_saturated(seen, ended), 1),
    }


def fates(outcomes: Sequence[Outcome], executed: Counter[str], unanswered: int = 0) -> Row:
    """Return how many requests ended how. `refused`: with Retry-After; `lost`: everything else that is not right."""
    refused = sum(each.refused for each in outcomes)
    right = sum(each.fate == "ok" for each in outcomes)
    return {
        "sent": len(outcomes) + unanswered,
        "ok": right,
        "refused": refused,
        "lost": len(outcomes) - right - refused + unanswered,
        "duplicated": sum(executed[each.request.id] > 1 for each in outcomes),
        "why": dict(Counter(each.detail for each in outcomes if each.fate != "ok").most_common(8)),
    }


def _grows(run: Run) -> float:
    """When the load begins to grow: at the corner after which the shape's rate is above its first."""
    corners = run.shape.corners if run.shape else ()
    for (begin, low), (_, high) in pairwise(corners):
        if max(low, high) > corners[0][1]:
            return run.began + begin
    return run.began


def _saturated(moments: Sequence[Moment], ended: float) -> float:
    ends = [*(each.at for each in moments[1:]), ended]
    return sum(end - each.at for each, end in zip(moments, ends, strict=True) if each.saturated)


def problems(found: Row, shape: Shape | None = None) -> list[str]:
    """Return what of a row is not as it must be, each in a sentence."""
    said = []
    if found["lost"] or found["duplicated"]:
        said.append(f"{found['lost']} of {found['sent']} requests lost, {found['duplicated']} computed twice")
    if found["reaction_s"] is not None and found["reaction_s"] > MOST_REACTION_SECONDS:
        said.append(f"{found['reaction_s']} s from saturation to StatefulSets, {MOST_REACTION_SECONDS} at most")
    if shape and found["peak"] < shape.peak:
        said.append(f"{found['peak']} replicas at most, {shape.peak} at least were needed")
    if found.get("wake_s") is not None and found["wake_s"] > MOST_WAKE_SECONDS:
        said.append(f"{found['wake_s']} s from a request at zero to a StatefulSet, {MOST_WAKE_SECONDS} at most")
    late = found.get("first_token_beyond_start_s")
    if late is not None and late > MOST_FIRST_TOKEN_SECONDS:
        said.append(f"the first token came {late} s after the engine's start, {MOST_FIRST_TOKEN_SECONDS} at most")
    return said


def table(rows: Iterable[Row]) -> Table:
    """Return the rows for a terminal."""
    found = Table(box=None, pad_edge=False)
    found.add_column("SCENARIO")
    columns = ("seconds", "sent", "ok", "refused", "lost", "reaction_s", "saturated_s", "wake_s", "replicas")
    for column in columns:
        found.add_column(column.upper().removesuffix("_S"), justify="right")
    for each in rows:
        found.add_row(each["scenario"], *(_cell(each.get(column)) for column in columns))
    return found


def _cell(value: object) -> str:
    if value is None:
        return "-"
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)
