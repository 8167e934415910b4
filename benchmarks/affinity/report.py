"""The comparison as a table for people; `main.py` writes the JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from affinity.measure import Row

_COLUMNS = (
    ("HITS", "hit_ratio", "{:.1%}"),
    ("OF BEST", "hit_ratio_of_best", "{:.1%}"),
    ("IMBALANCE", "imbalance", "{:.2f}"),
    ("BY REQUESTS", "imbalance_requests", "{:.2f}"),
    ("BY WORK DONE", "imbalance_computed", "{:.2f}"),
    ("TTFT P50", "ttft_p50_s", "{:.2f} s"),
    ("P90", "ttft_p90_s", "{:.2f} s"),
    ("P99", "ttft_p99_s", "{:.2f} s"),
    ("MEAN", "ttft_mean_s", "{:.2f} s"),
    ("QUEUE", "queue_mean_s", "{:.2f} s"),
    ("PER TOKEN P90", "token_p90_s", "{:.4f} s"),
)


def table(rows: Mapping[str, Row], title: str = "") -> Table:
    """Return the policies as rows, in the order given."""
    found = Table(box=None, pad_edge=False, title=title or None, title_justify="left")
    found.add_column("POLICY")
    for column, _, _ in _COLUMNS:
        found.add_column(column, justify="right")
    for name, row in rows.items():
        found.add_row(name, *(shape.format(row[key]) for _, key, shape in _COLUMNS))
    return found


def reached(rows: Mapping[str, Row], ours: str = "manta") -> tuple[bool, bool, bool]:
    """Whether `ours` has 97 % of the best policy's hits, an imbalance of at most 1.25, the lowest p90 of all."""
    row = rows[ours]
    lowest = min(other["ttft_p90_s"] for other in rows.values())
    return row["hit_ratio_of_best"] >= 0.97, row["imbalance"] <= 1.25, row["ttft_p90_s"] <= lowest


def verdict(rows: Mapping[str, Row], ours: str = "manta") -> list[str]:
    """Say in sentences where `ours` reaches its three goals and where it does not."""
    row = rows[ours]
    quickest = min(rows, key=lambda name: rows[name]["ttft_p90_s"])
    hits, balance, first = ("met" if met else "MISSED" for met in reached(rows, ours))
    return [
        f"{ours}: {row['hit_ratio_of_best']:.1%} of the best policy's hit ratio (goal: at least 97 %), {hits}",
        f"{ours}: imbalance {row['imbalance']:.2f} (goal: at most 1.25), {balance}",
        f"{ours}: p90 of the time to first token {row['ttft_p90_s']:.2f} s (goal: the lowest; "
        f"lowest: {quickest}, {rows[quickest]['ttft_p90_s']:.2f} s), {first}",
    ]
