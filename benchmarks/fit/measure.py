"""Errors of the predictions: the fifth step of `main.py`.

Tokens are compared where they mean the same: what vLLM since 0.21 and the planner call tokens is requests of the
longest length x that length. Before, of models with several groups of layers it was something else (blocks / groups x
tokens of a block), so that there the printed concurrency x length is taken, and where that was not printed the bytes
of the KV cache. The rule looks at the number of groups, the version and what was printed, not at the model.
"""

from __future__ import annotations

import statistics
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from manta_operator.facts.caches.layers import Cache

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from fit.predict import Predicted
    from fit.records import Record
    from manta_operator.facts.accelerators import Accelerator

_GIB = 2**30
_TOKENS_ARE_REQUESTS = (0, 21)


@dataclass(frozen=True)
class Row:
    """One record beside its prediction. Errors are shares of what was logged, signed: + is more than was logged.

    `kind` is the accelerator's: its compute capability ("9.0"), or "ROCm".
    """

    id: str
    model: str
    gpu: str
    shape: str
    version: str
    kind: str = "capability not known"
    weights: float | None = None
    weights_logged: float | None = None
    weights_err: float | None = None
    overhead: float | None = None
    overhead_implied: float | None = None
    overhead_within: bool | None = None
    kv_compared: str = ""
    kv: float | None = None
    kv_logged: float | None = None
    kv_err: float | None = None
    kv_within: bool | None = None
    request_err: float | None = None
    fits: bool | None = None
    fits_logged: bool | None = None
    message: str = ""
    not_measured: str = ""
    unread: tuple[str, ...] = ()
    broken: bool = False


def measure(predicted: Predicted, on: Accelerator) -> Row:
    """Compare one prediction with what was logged; `on`: with the whole memory of the GPU."""
    record, fit = predicted.record, predicted.fit
    total = (on.memory_bytes or 0) / _GIB
    weights = None if fit.weights_per_rank is None else fit.weights_per_rank / _GIB
    compared, kv, logged = _kv(predicted)
    budget = total * (record.utilization or 0)
    implied = budget - record.weights - record.kv if budget and record.weights and record.kv else None
    beside = fit.overhead_per_rank
    bounds = fit.tokens if compared != "GiB" else fit.kv_cache
    scale = _GIB if compared == "GiB" else 1
    within = None if logged is None or bounds is None else bounds.low <= logged * scale <= bounds.high
    return Row(
        **_names(record),
        kind=_kind(on),
        weights=weights,
        weights_logged=record.weights,
        weights_err=_error(weights, record.weights),
        overhead=None if beside is None else beside.value / _GIB,
        overhead_implied=implied,
        overhead_within=None if implied is None or beside is None else beside.low <= implied * _GIB <= beside.high,
        kv_compared=compared,
        kv=kv,
        kv_logged=logged,
        kv_err=_error(kv, logged),
        kv_within=within,
        request_err=_request_error(predicted),
        fits=predicted.fits,
        fits_logged=not record.failed,
        message=fit.message,
        not_measured="" if predicted.fits is not None else fit.message,
    )


def skipped(record: Record, why: str, *, broken: bool = False) -> Row:
    """Return the row of a record that could not be predicted; `broken`: as the prediction itself failed."""
    return Row(**_names(record), not_measured=why, broken=broken)


def _names(record: Record) -> dict[str, Any]:
    version = ".".join(map(str, record.version))
    return {
        "id": record.id,
        "model": record.model,
        "gpu": record.gpu or "?",
        "shape": f"tp{record.tp} pp{record.pp}",
        "version": version,
        "unread": record.unread,
    }


def _kind(on: Accelerator) -> str:
    if on.is_rocm:
        return "ROCm"
    return "capability not known" if on.capability is None else f"{on.capability // 10}.{on.capability % 10}"


def _kv(predicted: Predicted) -> tuple[str, float | None, float | None]:
    """What is compared, the prediction and what was logged."""
    record, fit = predicted.record, predicted.fit
    if fit.kv_cache is None or (fit.tokens is None and fit.fits != "False"):
        return "", None, None
    tokens = 0.0 if fit.tokens is None else fit.tokens.value
    if record.tokens and (not several_groups(predicted) or record.version >= _TOKENS_ARE_REQUESTS):
        return "tokens", tokens, record.tokens
    if record.concurrency and record.length:
        return "requests", tokens, record.concurrency * record.length
    return ("GiB", max(0.0, fit.kv_cache.value) / _GIB, record.kv) if record.kv else ("", None, None)


def several_groups(predicted: Predicted) -> bool:
    """Whether the layers need different tokens, so that vLLM keeps several tables of blocks."""
    kinds = {(cache.kind, cache.window) for cache in _attending(predicted.facts.caches)}
    return len(kinds) > 1


def _attending(caches: Sequence[Cache]) -> list[Cache]:
    return [Cache("full") if cache.kind == "latent" else cache for cache in caches if cache.kind != "none"]


def _request_error(predicted: Predicted) -> float | None:
    """The error of the bytes that a request takes: with the logged size of the cache in place of the predicted one."""
    record, needed = predicted.record, predicted.request_bytes
    length = predicted.fit.max_model_len
    if not record.kv or not needed or not length:
        return None
    if record.concurrency and record.length:
        return _error(needed, record.kv * _GIB / record.concurrency)
    if record.tokens and (not several_groups(predicted) or record.version >= _TOKENS_ARE_REQUESTS):
        return _error(needed / length, record.kv * _GIB / record.tokens)
    return None


def _error(value: float | None, logged: float | None) -> float | None:
    return None if value is None or not logged else value / logged - 1


def summary(rows: Sequence[Row]) -> dict[str, Any]:
    """Return the figures of `fit.json`: medians and 90th percentiles of the absolute errors, and the decisions."""
    weights = [abs(row.weights_err) for row in rows if row.weights_err is not None]
    kv = [abs(row.kv_err) for row in rows if row.kv_err is not None]
    requests = [abs(row.request_err) for row in rows if row.request_err is not None]
    judged = [row for row in rows if row.fits is not None and row.fits_logged is not None]
    return {
        "weights_err_median": quantile(weights, 0.5),
        "weights_err_p90": quantile(weights, 0.9),
        "kv_err_median": quantile(kv, 0.5),
        "kv_err_p90": quantile(kv, 0.9),
        "decision_accuracy": _share(row.fits == row.fits_logged for row in judged),
        "records": len(rows),
        "measured": {"weights": len(weights), "kv": len(kv), "requests": len(requests), "decisions": len(judged)},
        "kv_bytes_err_median": quantile(requests, 0.5),
        "kv_bytes_err_p90": quantile(requests, 0.9),
        "within_bounds": {
            "overhead": _share(row.overhead_within for row in rows if row.overhead_within is not None),
            "kv": _share(row.kv_within for row in rows if row.kv_within is not None),
        },
        "wrong_decisions": [row.id for row in judged if row.fits != row.fits_logged],
        "not_measured": {row.id: row.not_measured for row in rows if row.not_measured},
        "broken": sum(row.broken for row in rows),
        "unread": {row.id: list(row.unread) for row in rows if row.unread},
        "rows": [asdict(row) for row in rows],
    }


def quantile(values: Sequence[float], share: float) -> float | None:
    """Return the value below which `share` of the values lie, between neighbours in proportion; None of none."""
    if len(values) < 2:
        return values[0] if values else None
    cuts = statistics.quantiles(values, n=100, method="inclusive")
    return cuts[round(share * 100) - 1]


def _share(said: Iterable[bool]) -> float | None:
    known = list(said)
    return sum(known) / len(known) if known else None
