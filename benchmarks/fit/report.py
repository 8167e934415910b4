"""The records as a table for people, and what came of it in sentences; `main.py` writes the JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fit.measure import Row

_GOALS = (
    ("weights per GPU, median", "weights_err_median", 0.01, "at most"),
    ("weights per GPU, p90", "weights_err_p90", 0.03, "at most"),
    ("bytes of KV cache a request takes, median", "kv_bytes_err_median", 0.01, "at most"),
    ("KV cache, median", "kv_err_median", 0.10, "at most"),
    ("KV cache, p90", "kv_err_p90", 0.20, "at most"),
    ("fits or does not, right", "decision_accuracy", 0.95, "at least"),
)


def table(rows: Sequence[Row]) -> Table:
    """Return one line for each record, in the order of the file."""
    found = Table(box=None, pad_edge=False)
    for column in ("RECORD", "MODEL", "GPU", "SHAPE", "VLLM"):
        found.add_column(column, no_wrap=True, max_width=26)
    for column in ("WEIGHTS", "LOGGED", "ERR", "OVERHEAD", "IMPLIED", "KV", "LOGGED", "ERR", "A REQUEST", "FITS"):
        found.add_column(column, justify="right", no_wrap=True)
    for row in rows:
        found.add_row(
            row.id,
            row.model.rpartition("/")[2],
            row.gpu,
            row.shape,
            row.version,
            _number(row.weights),
            _number(row.weights_logged),
            _percent(row.weights_err),
            _number(row.overhead),
            _number(row.overhead_implied),
            _count(row.kv, row.kv_compared),
            _count(row.kv_logged, row.kv_compared),
            _percent(row.kv_err),
            _percent(row.request_err),
            _verdict(row),
        )
    return found


def sentences(figures: Mapping[str, Any]) -> list[str]:
    """Say which goals are met, how wide the bounds are, what was not measured and why."""
    said = [_goal(figures, *goal) for goal in _GOALS]
    without = figures["without_catalog"]
    said.append(f"the same without the catalog, as for a model that it does not have ({_counted(without)}):")
    said.extend(f"  {_goal(without, *goal)}" for goal in _GOALS)
    bounds, holdout = figures["within_bounds"], figures["holdout"]
    said.append(f"of {figures['records']} records measured: {_counted(figures)}")
    said.append(f"KV cache, each model once: {_spread(figures['by_model'])}")
    said.extend(f"KV cache, {_kind(name)}: {_spread(each)}" for name, each in figures["by_kind"].items())
    said.extend(f"KV cache, vLLM {name}: {_spread(each)}" for name, each in figures["by_version"].items())
    said.append(f"within the bounds (meant: 90 %): overhead {_share(bounds['overhead'])}, KV {_share(bounds['kv'])}")
    if holdout["records"]:
        said.append(
            f"overhead, {holdout['records']} records of {holdout['models']} models: "
            f"error {_gib(holdout, 'overhead_err')}; "
            f"with constants fitted without the model {_gib(holdout, 'held_out_err')}"
        )
    said.append(f"one shape of one spec is judged in {figures['milliseconds_a_fit']:.2f} ms")
    said.extend(f"wrong decision: {each}" for each in figures["wrong_decisions"])
    said.extend(f"not measured: {name}: {why}" for name, why in figures["not_measured"].items())
    said.extend(f"not read: {name}: {', '.join(fields)}" for name, fields in figures["unread"].items())
    if figures["broken"]:
        said.append(f"{figures['broken']} records could not be predicted: an error of this benchmark, or of the files")
    return said


def _goal(figures: Mapping[str, Any], words: str, key: str, goal: float, way: str) -> str:
    value = figures[key]
    if value is None:
        return f"{words}: not measured"
    met = "met" if (value <= goal if way == "at most" else value >= goal) else "MISSED"
    return f"{words}: {value:.2%} (goal: {way} {goal:.0%}), {met}"


def _counted(figures: Mapping[str, Any]) -> str:
    counted = figures["measured"]
    return f"weights of {counted['weights']}, KV cache of {counted['kv']}, decision of {counted['decisions']}"


def _spread(figures: Mapping[str, Any]) -> str:
    if not figures["count"]:
        return "not measured"
    return f"{figures['kv_err_median']:.1%} median, {figures['kv_err_p90']:.1%} p90 of {figures['count']}"


def _kind(name: str) -> str:
    return f"compute capability {name}" if name[0].isdigit() else name


def _gib(holdout: Mapping[str, Any], key: str) -> str:
    return f"{holdout[f'{key}_gib_median']:.2f} GiB median, {holdout[f'{key}_gib_p90']:.2f} GiB p90"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _count(value: float | None, compared: str) -> str:
    return "" if value is None else f"{value:.2f} GiB" if compared == "GiB" else f"{value:,.0f}"


def _percent(value: float | None) -> str:
    return "" if value is None else f"{value:+.1%}"


def _share(value: float | None) -> str:
    return "?" if value is None else f"{value:.0%}"


def _verdict(row: Row) -> str:
    if row.fits is None:
        return "?"
    said = "yes" if row.fits else "no"
    return said if row.fits == row.fits_logged else f"{said} WRONG"
