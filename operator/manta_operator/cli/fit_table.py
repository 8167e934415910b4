"""What `manta plan` prints of the fit: a table of its numbers, and the same as JSON. Pure.

Bytes are those of one rank, tokens and requests those of one replica; bounds hold nine times in ten.
"""

from collections.abc import Callable
from typing import Any

from manta_operator.cli.table import Cell, Column, Row, lay_out
from manta_operator.planning.choice import Rejected
from manta_operator.planning.estimate import Estimate
from manta_operator.planning.fit import Fit, gib
from manta_operator.planning.plan import Plan
from manta_operator.planning.roofline import Performance

_COLUMNS = (Column("FIT"), Column("PREDICTED"), Column("BETWEEN", 1), Column("OF", 2))
_SHOWN = 4
"""How many of the shapes that were rejected are told; the first and the last say most."""


def table(plan: Plan, width: int | None, indent: int) -> list[str]:
    """Return the lines of the table; none where nothing was counted."""
    rows = [*_rank(plan.fit), *_replica(plan.fit), *_speed(plan.performance)]
    return lay_out(_COLUMNS, rows, width, indent) if rows else []


def rejected(found: tuple[Rejected, ...]) -> list[str]:
    """Return why smaller shapes were not taken, a sentence each; of many only some."""
    if len(found) <= _SHOWN:
        return [str(each) for each in found]
    left_out = len(found) - _SHOWN
    return [*map(str, found[: _SHOWN - 1]), f"{left_out} more in between", str(found[-1])]


def _rank(fit: Fit) -> list[Row]:
    kept = fit.kv_bytes_per_token
    rows: list[Row] = [
        *_row("weights", fit.weights_per_rank, None, "a rank", gib),
        *_row("overhead", None, fit.overhead_per_rank, "a rank: activations, CUDA graphs and the like", gib),
        *_row(
            "KV cache", fit.kv_cache_per_rank, fit.kv_cache, f"a rank, {kept} bytes a token" if kept else "a rank", gib
        ),
    ]
    if fit.margin_per_rank is not None:
        short = fit.margin_per_rank < 0
        cell = Cell(("-" if short else "") + gib(abs(fit.margin_per_rank)), "red" if short else "green")
        rows.append(["margin", cell, "", "a rank: KV cache beyond one request of the longest kind"])
    return rows


def _replica(fit: Fit) -> list[Row]:
    rows = _row("tokens", fit.kv_cache_tokens, fit.tokens, "a replica's KV cache", _whole)
    if fit.concurrency is not None:
        rows.append(["requests at once", f"{fit.concurrency:.1f}", "", f"{fit.max_model_len} tokens each"])
    return rows


def _speed(found: Performance | None) -> list[Row]:
    if found is None:
        return []
    about = f"{found.prompt} tokens in, {found.answer} out; an estimate"
    return [
        *_row("tokens/s alone", None, found.alone, about, _whole),
        *_row("tokens/s at most", None, found.together, f"{found.requests} requests at once", _whole),
        *_row("first token", None, found.first_token, "", _seconds),
    ]


def _row(
    name: str, value: float | None, bounds: Estimate | None, about: str, form: Callable[[float], str]
) -> list[Row]:
    if value is None and bounds is None:
        return []
    between = f"{form(max(0.0, bounds.low))} to {form(max(0.0, bounds.high))}" if bounds is not None else ""
    said = bounds.value if value is None and bounds is not None else value
    return [[name, form(max(0.0, said or 0.0)), between, about]]


def as_json(plan: Plan) -> dict[str, Any]:
    """Return the same numbers as plain values: sizes in bytes, times in seconds; what is not known is null."""
    fit, speed = plan.fit, plan.performance
    return {
        "fits": fit.fits,
        "message": fit.message,
        "basis": fit.basis or None,
        "weightsPerRank": fit.weights_per_rank,
        "overheadPerRank": _bounds(fit.overhead_per_rank),
        "kvCachePerRank": fit.kv_cache_per_rank,
        "kvCache": _bounds(fit.kv_cache),
        "kvCacheTokens": fit.kv_cache_tokens,
        "tokens": _bounds(fit.tokens),
        "kvBytesPerToken": fit.kv_bytes_per_token,
        "concurrency": fit.concurrency,
        "marginPerRank": fit.margin_per_rank,
        "maxModelLen": fit.max_model_len,
        "memoryPerPod": fit.memory_per_pod,
        "rejected": [{"shape": each.shape.cut, "why": each.why} for each in plan.rejected],
        "estimate": None
        if speed is None
        else {
            "promptTokens": speed.prompt,
            "answerTokens": speed.answer,
            "requests": speed.requests,
            "tokensPerSecondAlone": _bounds(speed.alone),
            "tokensPerSecondTogether": _bounds(speed.together),
            "firstTokenSeconds": _bounds(speed.first_token),
        },
    }


def _bounds(found: Estimate | None) -> dict[str, float] | None:
    return None if found is None else {"value": found.value, "low": found.low, "high": found.high}


def _whole(value: float) -> str:
    return f"{value:.0f}"


def _seconds(value: float) -> str:
    return f"{value:.2f} s"
