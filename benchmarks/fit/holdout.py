"""Whether the overhead's constants hold for models that they were not fitted on: the sixth step of `main.py`.

The context by class of ranks is a median of start-ups. For every model it is fitted anew on the start-ups of all
others, and its own are predicted with that: leave one model out. This moves one number for each class. What else the
overhead has from start-ups stays as it is (bytes of a logit by version, the terms of CUDA graphs, ROCm's, the tower's
half, the switch at vLLM 0.17), so that the figure is a lower bound of the error on models that nobody looked at.
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from fit.measure import quantile

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fit.measure import Row


def leave_one_model_out(rows: Sequence[Row]) -> dict[str, Any]:
    """Return the errors of the overhead in GiB: with the constants as they are, and fitted without the model."""
    known = [row for row in rows if row.overhead is not None and row.overhead_implied is not None]
    models = {row.model for row in known}
    as_is = [_missing(row) for row in known]
    held_out: list[float] = []
    for model in models:
        moved = _fitted([row for row in known if row.model != model])
        held_out += [_missing(row) - moved.get(_class(row), 0.0) for row in known if row.model == model]
    return {
        "models": len(models),
        "records": len(known),
        "overhead_err_gib_median": quantile([abs(error) for error in as_is], 0.5),
        "overhead_err_gib_p90": quantile([abs(error) for error in as_is], 0.9),
        "held_out_err_gib_median": quantile([abs(error) for error in held_out], 0.5),
        "held_out_err_gib_p90": quantile([abs(error) for error in held_out], 0.9),
        "bias_gib": quantile(as_is, 0.5),
    }


def _missing(row: Row) -> float:
    return (row.overhead_implied or 0.0) - (row.overhead or 0.0)


def _fitted(rows: Sequence[Row]) -> dict[str, float]:
    """How far each class's constant would move: the median of what it misses."""
    found = defaultdict(list)
    for row in rows:
        found[_class(row)].append(_missing(row))
    return {name: statistics.median(missing) for name, missing in found.items()}


def _class(row: Row) -> str:
    if "MI" in row.gpu:
        return "ROCm"
    if row.shape.startswith("tp1 "):
        return "one rank"
    return "ranks since 0.17" if int(row.version.split(".")[1]) >= 17 else "ranks before 0.17"
