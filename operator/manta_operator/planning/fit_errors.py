"""How far a prediction is from what an engine measured. Pure: read by the condition, the metrics and `manta status`.

An engine tells memory in hundredths of a GiB: differences within that say nothing.
"""

from collections.abc import Mapping
from typing import Any

from manta_operator.planning.estimate import Estimate
from manta_operator.planning.fit import GIB

_ROUNDED = 0.005 * GIB
_COMPARED = {"weights": "weightsPerRank", "kv_cache": "kvCachePerRank", "tokens": "kvCacheTokens"}
"""Quantity, as the metrics call it, to the field of `status.fit.predicted` and `.actual`."""
MUCH_FEWER = 0.75
"""A KV cache below this part of what was predicted, and below its lower bound, is worth a condition."""
ASSUMED = 0.2
"""The error bar of tokens where the prediction was recalled, and its bounds are not known: p90 of `make bench-fit`."""


def errors(fit: Mapping[str, Any]) -> dict[str, float]:
    """Return, by quantity, by which part of the prediction the measured value is larger (0.1: 10 % more).

    Args:
        fit: `status.fit`. What was not predicted, or not measured, is left out.
    """
    said, seen = fit.get("predicted") or {}, fit.get("actual") or {}
    found = {}
    for name, field in _COMPARED.items():
        predicted, actual = said.get(field), seen.get(field)
        if not predicted or actual is None:
            continue
        off = 0.0 if name != "tokens" and abs(actual - predicted) <= _ROUNDED else actual / predicted - 1
        found[name] = round(off, 4)
    return found


def tokens_short(foretold: Estimate | int, tokens: int) -> bool:
    """Whether a KV cache holds so few tokens that somebody should look."""
    return outside(foretold, tokens) < 0 and tokens < MUCH_FEWER * _value(foretold)


def outside(foretold: Estimate | int, tokens: int) -> float:
    """Return by which part of it a number of tokens differs from the prediction; 0 within its error bar."""
    value = _value(foretold)
    bar = foretold if isinstance(foretold, Estimate) else Estimate.within(foretold, ASSUMED)
    return 0.0 if not value or bar.low <= tokens <= bar.high else tokens / value - 1


def _value(foretold: Estimate | int) -> float:
    return foretold.value if isinstance(foretold, Estimate) else foretold
