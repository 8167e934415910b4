"""What `manta status` prints of `status.fit`: what was predicted and what the engines report, side by side. Pure."""

from collections.abc import Callable, Mapping
from typing import Any

from manta_operator.cli.table import Cell, Column, Row, lay_out
from manta_operator.planning.fit import gib
from manta_operator.planning.fit_errors import errors

_COLUMNS = (Column("PER RANK, REPLICA"), Column("PREDICTED"), Column("ACTUAL"), Column("OFF", 1))
_ROWS: tuple[tuple[str, str, str, Callable[[float], str]], ...] = (
    ("weights", "weightsPerRank", "weights", gib),
    ("overhead", "overheadPerRank", "", gib),
    ("CUDA graphs", "graphsPerRank", "", gib),
    ("KV cache", "kvCachePerRank", "kv_cache", gib),
    ("tokens", "kvCacheTokens", "tokens", lambda value: f"{value:.0f}"),
    ("requests at once", "concurrency", "", lambda value: f"{value:.1f}"),
)
"""What it is called, the field, the quantity whose error is told, and how a number is written."""


def side_by_side(fit: Mapping[str, Any], width: int | None) -> list[str]:
    """Return the lines; none where nothing was counted and nothing measured."""
    said, seen, off = fit.get("predicted") or {}, fit.get("actual") or {}, errors(fit)
    rows: list[Row] = []
    for title, field, quantity, form in _ROWS:
        if field in said or field in seen:
            numbers = [form(each[field]) if field in each else "" for each in (said, seen)]
            rows.append([title, *numbers, _off(off[quantity]) if quantity in off else ""])
    lines = lay_out(_COLUMNS, rows, width, 2) if rows else []
    more = {"bounds": fit.get("bounds"), "speed": fit.get("speed"), "read from": fit.get("basis")}
    return [*lines, *(f"  {name}: {text}" for name, text in more.items() if text and rows)]


def _off(error: float) -> Cell:
    return Cell(f"{error:+.1%}", "yellow" if abs(error) > 0.1 else "")
