"""What was measured as tables for people: pairs of runs, ours / theirs; how answers become slower. Pure."""

from __future__ import annotations

from statistics import fmean
from typing import TYPE_CHECKING

from rich.table import Table

from autoscaler_validation.measured import QUANTILES, Measured, apart

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from autoscaler_validation.law import Fit, Point
    from manta_operator.scaling.settings import Estimate


def table(title: str, pairs: Mapping[str, tuple[Measured, Measured]]) -> Table:
    """Return a row for each pair: percentiles of the first token and of the whole answer in seconds, replica-hours."""
    names = ["REQUESTS", *(f"P{share * 100:.0f}" for share in QUANTILES)]
    names += ["ANSWER", "P99", "TOKENS/S", "IN TIME", "HOURS", "APART", "TOOK"]
    found = _empty(title, "CASE", names)
    for name, (ours, theirs) in pairs.items():
        found.add_row(name, *_cells(ours, theirs))
    return found


def _cells(ours: Measured, theirs: Measured) -> list[str]:
    return [
        str(theirs.requests) if ours.requests == theirs.requests else f"{ours.requests} / {theirs.requests}",
        *(f"{a:.2f} / {b:.2f}" for a, b in zip(ours.first_token, theirs.first_token, strict=True)),
        f"{ours.answer[0]:.1f} / {theirs.answer[0]:.1f}",
        f"{ours.answer[-1]:.1f} / {theirs.answer[-1]:.1f}",
        f"{ours.tokens_per_s:.1f} / {theirs.tokens_per_s:.1f}",
        f"{ours.in_time:.1%} / {theirs.in_time:.1%}",
        f"{ours.replica_hours:.2f} / {theirs.replica_hours:.2f}" if theirs.replica_hours else "",
        f"{apart(ours.moments, theirs.moments):.2f}" if theirs.moments else "",
        f"{ours.took:.1f} / {theirs.took:.1f}",
    ]


def levels(title: str, seen: Mapping[str, Sequence[Point]], line: Fit, estimate: Estimate) -> Table:
    """Return a row for each level of load: work a second, tokens a second of each sequence, and what the line says."""
    names = ["WINDOWS", "COUNT", "WORK", "LEAST", "SPEED", "MOST", "LINE", "APART", "RUNNING", "TOKENS/S"]
    found = _empty(title, "LEVEL", names)
    for name, points in seen.items():
        if points:
            found.add_row(name, *_level(points, line, estimate))
    return found


def fits(title: str, lines: Mapping[str, tuple[Fit, float]]) -> Table:
    """Return a row for each unit of work: the line, the capacity that it shows, and the one that was measured."""
    found = _empty(title, "WORK IN", ["WINDOWS", "A", "B", "R2", "A/B", "SHOWN", "SURE", "MEASURED", "SHOWN/MEASURED"])
    for name, (fit, full) in lines.items():
        line = (f"{fit.alone:.1f}", f"{fit.slope:.1f}", f"{fit.share:.2f}", f"{fit.stand:.2f}")
        shown = (f"{fit.limit:.2f}", f"{fit.sure:.2f}", f"{full:.2f}", f"{fit.limit / full:.2f}" if fit.limit else "")
        found.add_row(name, str(fit.number), *(line if fit.alone else ("", "", "", "")), *shown)
    return found


def _level(points: Sequence[Point], line: Fit, estimate: Estimate) -> list[str]:
    rates = [point.rate for point in points]
    work, rate = fmean(point.work(estimate) for point in points), fmean(rates)
    return [
        str(len(points)),
        str(sum(point.counts(estimate) for point in points)),
        f"{work:.3f}",
        *(f"{each:.1f}" for each in (min(rates), rate, max(rates), line.at(work))),
        f"{rate / line.at(work) - 1:+.0%}" if line.at(work) > 0 else "",
        f"{fmean(point.running for point in points):.1f}",
        f"{fmean(point.generated for point in points):.0f}",
    ]


def _empty(title: str, first: str, names: Sequence[str]) -> Table:
    found = Table(box=None, pad_edge=False, title=title, title_justify="left")
    found.add_column(first, no_wrap=True)
    for name in names:
        found.add_column(name, justify="right")
    return found
