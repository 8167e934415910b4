"""The comparison as a table for people, and what it says about ours; `main.py` writes the JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table

from manta_operator.scaling.simulation.compare import OURS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from manta_operator.scaling.simulation.compare import Row

ATTAINMENT, COST, COLD_START = 0.99, 1.15, 120.0
"""The goal: at least, at most of the oracle's GPU-hours, and with which cold start (s)."""

_COLUMNS = (
    ("IN TIME", "slo_attainment", "{:.2%}"),
    ("GPU-HOURS", "gpu_hours", "{:.2f}"),
    ("OF ORACLE", "gpu_hours_over_oracle", "{:.3f}"),
    ("REACTION", "reaction_s", "{:.0f} s"),
    ("WASTE", "waste", "{:.0%}"),
    ("TTFT P50", "ttft_p50_s", "{:.2f} s"),
    ("P99", "ttft_p99_s", "{:.1f} s"),
    ("MOST", "most_replicas", "{}"),
    ("PARETO", "pareto", "{}"),
)


def table(rows: Mapping[str, Row], title: str) -> Table:
    """Return the policies as rows, in the order given."""
    found = Table(box=None, pad_edge=False, title=title, title_justify="left")
    found.add_column("POLICY")
    for column, _, _ in _COLUMNS:
        found.add_column(column, justify="right")
    for name, row in rows.items():
        found.add_row(name, *(shape.format(row[key]) for _, key, shape in _COLUMNS))
    return found


def markdown(document: Mapping[str, Mapping[str, Mapping[str, Row]]]) -> str:
    """Return the table of docs/benchmarks.md: a row for each policy, a column for each trace and cold start.

    Args:
        document: Rows by trace, cold start (s) and policy.
    """
    columns = [(trace, start, rows) for trace, starts in document.items() for start, rows in starts.items()]
    names = dict.fromkeys(name for _, _, rows in columns for name in rows)
    lines = ["| | " + " | ".join(f"{trace.split('_')[0]} {start} s" for trace, start, _ in columns) + " |"]
    lines.append("|---" * (len(columns) + 1) + "|")
    for name in names:
        cells = (rows.get(name) for _, _, rows in columns)
        shown = " | ".join("-" if row is None else _cell(row) for row in cells)
        lines.append(f"| `{name}` | {shown} |")
    return "\n".join(lines)


def _cell(row: Row) -> str:
    share = row["gpu_hours_over_oracle"]
    return f"{row['slo_attainment'] * 100:.1f} %, {'-' if share is None else f'{share:.2f}'}"


def verdict(rows: Mapping[str, Row], cold_start: float) -> str:
    """Say in a sentence whether ours is on the Pareto front, and with the goal's cold start whether it reaches it."""
    row = rows[OURS]
    front = "on the Pareto front" if row["pareto"] else "NOT on the Pareto front"
    text = f"{OURS}: {row['slo_attainment']:.2%} in time at {row['gpu_hours_over_oracle']:.2f} x the oracle, {front}"
    if cold_start != COLD_START:
        return text
    met = row["slo_attainment"] >= ATTAINMENT and row["gpu_hours_over_oracle"] <= COST
    return f"{text}; goal (at least {ATTAINMENT:.0%} at no more than {COST} x): {'met' if met else 'MISSED'}"
