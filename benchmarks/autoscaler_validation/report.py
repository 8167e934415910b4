"""Pairs of runs as a table for people: ours / theirs. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table

from autoscaler_validation.measured import QUANTILES, Measured, apart

if TYPE_CHECKING:
    from collections.abc import Mapping


def table(title: str, pairs: Mapping[str, tuple[Measured, Measured]]) -> Table:
    """Return a row for each pair: percentiles of the first token and of the whole answer in seconds, replica-hours."""
    found = Table(box=None, pad_edge=False, title=title, title_justify="left")
    found.add_column("CASE", no_wrap=True)
    names = ["REQUESTS", *(f"P{share * 100:.0f}" for share in QUANTILES)]
    names += ["ANSWER", "P99", "TOKENS/S", "IN TIME", "HOURS", "APART", "TOOK"]
    for name in names:
        found.add_column(name, justify="right")
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
