"""Counts per change, as a table for people and as JSON."""

import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from rich.table import Table

from traffic.request import Outcome

Row = dict[str, Any]
COLUMNS = ("sent", "lost", "failed", "truncated", "duplicated")


@dataclass(frozen=True)
class Phase:
    """A change from `began` to `ended` (monotonic seconds), `quiet_from` when nothing had happened for a while."""

    name: str
    excuse: str
    quiet_from: float
    began: float
    ended: float


def summarize(phase: Phase, outcomes: Sequence[Outcome], executed: Counter[str]) -> Row:
    """Return the counts of the requests that ran at any moment of the change, and the p99 latency before and in it.

    `executed`: how often an engine has begun each request.
    """
    during = [o for o in outcomes if _touches(phase, o)]
    before = [o for o in outcomes if phase.quiet_from <= o.started and o.started + o.took <= phase.began]
    return {
        "change": phase.name,
        "seconds": round(phase.ended - phase.began, 1),
        **_count(during, executed),
        "p99_ms_before": _p99(before),
        "p99_ms_during": _p99(during),
        "excuse": phase.excuse,
    }


def between(phases: Sequence[Phase], outcomes: Sequence[Outcome], executed: Counter[str]) -> Row:
    """Return the counts of the requests that no change touched: nothing may get lost in quiet times either."""
    quiet = [o for o in outcomes if not any(_touches(phase, o) for phase in phases)]
    seconds = phases[-1].ended - phases[0].quiet_from - sum(phase.ended - phase.began for phase in phases)
    p99 = _p99(quiet)
    found = _count(quiet, executed)
    return {"change": "none (between)", "seconds": round(seconds, 1), **found} | {
        "p99_ms_before": p99,
        "p99_ms_during": p99,
        "excuse": "",
    }


def _touches(phase: Phase, outcome: Outcome) -> bool:
    return outcome.started < phase.ended and outcome.started + outcome.took > phase.began


def _count(outcomes: Sequence[Outcome], executed: Counter[str]) -> Row:
    fates = Counter(outcome.fate for outcome in outcomes)
    details = Counter(outcome.detail for outcome in outcomes if outcome.fate != "ok")
    return {
        "sent": len(outcomes),
        "lost": fates["lost"],
        "failed": fates["failed"],
        "truncated": fates["truncated"],
        "duplicated": sum(executed[outcome.request.id] > 1 for outcome in outcomes),
        "why": dict(details.most_common(8)),
    }


def _p99(outcomes: Iterable[Outcome]) -> float | None:
    """Milliseconds; of answers of at most 48 tokens, for the long ones would hide everything else."""
    took = sorted(o.took for o in outcomes if o.fate == "ok" and o.request.tokens <= 48)
    return round(statistics.quantiles(took, n=100)[98] * 1000, 1) if len(took) > 1 else None


def spotless(rows: Iterable[Row]) -> bool:
    """Whether nothing went wrong in any change that has no excuse."""
    return all(row["excuse"] or not any(row[column] for column in COLUMNS[1:]) for row in rows)


def table(rows: Iterable[Row]) -> Table:
    """Return the rows for a terminal."""
    found = Table(box=None, pad_edge=False)
    found.add_column("CHANGE")
    for column in ("SECONDS", *(column.upper() for column in COLUMNS), "P99 BEFORE", "P99 DURING"):
        found.add_column(column, justify="right")
    for row in rows:
        p99 = (f"{row[key]:.0f} ms" if row[key] is not None else "-" for key in ("p99_ms_before", "p99_ms_during"))
        found.add_row(row["change"], f"{row['seconds']:.0f}", *(str(row[column]) for column in COLUMNS), *p99)
    return found
