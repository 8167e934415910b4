"""`status.fit`: what was predicted and what the engines report, side by side. Pure.

The prediction is remembered by it, too: `previous.recall` reads it back. What the engines reported once stays beside a
prediction for the same spec while no engine says anything: a replica that restarts has not forgotten what it measured.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

from manta_operator.api.status import Fit as FitStatus
from manta_operator.api.status import FitNumbers
from manta_operator.planning.engine_facts import EngineReport
from manta_operator.planning.estimate import Estimate
from manta_operator.planning.fit import Fit, gib

MESSAGE_LIMIT = 4096
"""Characters of the message that are kept."""


def fit_status(fit: Fit, *, speed: str = "", actual: FitNumbers | None = None) -> dict[str, Any]:
    """Return `status.fit`.

    Args:
        fit: What was predicted.
        speed: The estimate of how fast a replica is, in a sentence.
        actual: What the engines report; None: nothing yet.
    """
    kept = FitStatus(
        fits=fit.fits,
        message=fit.message[:MESSAGE_LIMIT],
        basis=fit.basis or None,
        max_model_len=fit.max_model_len,
        kv_bytes_per_token=_count(fit.kv_bytes_per_token),
        margin_per_rank=None if fit.margin_per_rank is None else round(fit.margin_per_rank),
        predicted=_some(predicted(fit)),
        bounds=bounds(fit) or None,
        speed=speed or None,
        actual=_some(actual),
    )
    return kept.model_dump(mode="json", by_alias=True, exclude_none=True)


def predicted(fit: Fit) -> FitNumbers:
    """Return the numbers of a prediction, without their bounds."""
    overhead, many = fit.overhead_per_rank, fit.concurrency
    return FitNumbers(
        weights_per_rank=_count(fit.weights_per_rank),
        overhead_per_rank=_count(overhead.value if overhead else None),
        kv_cache_per_rank=_count(fit.kv_cache_per_rank),
        kv_cache_tokens=_count(fit.kv_cache_tokens),
        concurrency=None if many is None or not math.isfinite(many) else max(0.0, round(many, 2)),
    )


def bounds(fit: Fit) -> str:
    """Say between what the prediction lies, nine times in ten; empty where no bounds are known."""
    parts = {
        "overhead": (fit.overhead_per_rank, gib),
        "KV cache": (fit.kv_cache, gib),
        "tokens": (fit.tokens, _whole),
    }
    return ", ".join(f"{name} {_between(each, form)}" for name, (each, form) in parts.items() if each is not None)


def measured(found: EngineReport, data: int) -> FitNumbers | None:
    """Return what the engines report; None if they say no number.

    Args:
        found: What the replicas of the newest revision said.
        data: Data ranks of a replica: each has a cache of its own, and tells of that.
    """
    one = found.one
    numbers = FitNumbers(
        weights_per_rank=one.weights_bytes,
        graphs_per_rank=one.graphs_bytes,
        kv_cache_per_rank=one.kv_cache_bytes,
        kv_cache_tokens=None if one.kv_cache_tokens is None else data * one.kv_cache_tokens,
        concurrency=None if one.max_concurrency is None else round(data * one.max_concurrency, 2),
    )
    return _some(numbers)


def recalled(kept: FitStatus, memory_per_pod: int | None) -> Fit:
    """Return the prediction that the status tells of, without its bounds."""
    numbers = kept.predicted or FitNumbers()
    return Fit(
        fits=kept.fits,
        message=kept.message,
        weights_per_rank=numbers.weights_per_rank,
        kv_cache_per_rank=numbers.kv_cache_per_rank,
        kv_cache_tokens=numbers.kv_cache_tokens,
        max_model_len=kept.max_model_len,
        memory_per_pod=memory_per_pod,
        kv_bytes_per_token=kept.kv_bytes_per_token,
        concurrency=numbers.concurrency,
        margin_per_rank=kept.margin_per_rank,
        basis=kept.basis or "",
    )


def beside(now: dict[str, Any], before: Mapping[str, Any]) -> dict[str, Any]:
    """Return `status.fit` with what the former one knows beyond it: what was measured, and the bounds of one recalled.

    Args:
        now: As `fit_status` returns it.
        before: The one that stands in the status, of the same spec.
    """
    recalled_one = "bounds" not in now and all(now.get(name) == before.get(name) for name in _SAME)
    actual = {name: each["actual"] for each in (before, now) for name in ("actual",) if name in each}
    return now | (dict(before) if recalled_one else {}) | actual


_SAME = ("fits", "message", "basis")
"""Where these stand, the prediction is the same one: the message has its numbers."""


def _between(each: Estimate, form: Callable[[float], str]) -> str:
    return f"{form(max(0.0, each.low))} to {form(max(0.0, each.high))}"


def _count(value: float | None) -> int | None:
    return None if value is None or not math.isfinite(value) else max(0, round(value))


def _whole(value: float) -> str:
    return f"{value:.0f}"


def _some(numbers: FitNumbers | None) -> FitNumbers | None:
    return None if numbers is None or numbers == FitNumbers() else numbers
