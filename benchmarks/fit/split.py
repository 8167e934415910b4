"""The error of the KV cache by model, by kind of accelerator and by age of vLLM: the seventh step of `main.py`.

Half of the start-ups known are of one kind of accelerator, and a model that was started often counts often. So one
figure over all records says little of a card that few have: here stands what it is there.
"""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from fit.measure import quantile
from fit.records import number_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from fit.measure import Row

_RECENT = (0, 24)
_FIGURES = (
    "weights_err_median", "weights_err_p90", "kv_err_median", "kv_err_p90", "kv_bytes_err_median", "decision_accuracy",
    "measured", "wrong_decisions", "not_measured",
)  # fmt: skip


def split(rows: Sequence[Row]) -> dict[str, Any]:
    """Return `by_model` (each model once, with the median of its errors), `by_kind` and `by_version`."""
    models, kinds = _errors(rows, lambda row: row.model), _errors(rows, lambda row: row.kind)
    return {
        "by_model": _figures([statistics.median(errors) for errors in models.values()]),
        "by_kind": {name: _figures(errors) for name, errors in sorted(kinds.items(), key=_in_order)},
        "by_version": {name: _figures(errors) for name, errors in sorted(_errors(rows, _age).items())},
    }


def bare(figures: Mapping[str, Any]) -> dict[str, Any]:
    """Return of a summary what is told of the predictions without the catalog."""
    return {name: figures[name] for name in _FIGURES}


def _errors(rows: Sequence[Row], of: Callable[[Row], str]) -> dict[str, list[float]]:
    found = defaultdict(list)
    for row in rows:
        if row.kv_err is not None:
            found[of(row)].append(abs(row.kv_err))
    return found


def _in_order(kind: tuple[str, list[float]]) -> tuple[float, str]:
    number = number_of(kind[0])
    return (math.inf if number is None else number, kind[0])


def _figures(errors: Sequence[float]) -> dict[str, Any]:
    return {"count": len(errors), "kv_err_median": quantile(errors, 0.5), "kv_err_p90": quantile(errors, 0.9)}


def _age(row: Row) -> str:
    major, minor = row.version.split(".")
    return "since 0.24" if (int(major), int(minor)) >= _RECENT else "before 0.24"
