"""Requests of a trace, and making it larger or smaller without changing its shape. Pure; `forms.py` reads its lines."""

import random
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass

MOST_REQUESTS = 3_000_000
"""Of a trace, copies included: so many take a gigabyte and some minutes a policy."""

MOST_SECONDS = 31 * 86_400.0
_JITTER_SECONDS = 30.0


class TraceError(ValueError):
    """The trace cannot be used; the message says what, where and what would do."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request: `at` in seconds from the beginning, lengths in tokens."""

    at: float
    prompt_tokens: int
    output_tokens: int


Trace = tuple[Request, ...]


def copies(trace: Trace, times: float, seed: int = 1) -> Trace:
    """Return `times` as many requests, with the rate's shape kept: each repeated, up to 30 s earlier or later.

    The first copy keeps its moments; a part (0.4 of 1.4 times) is drawn at random. Without the shift, copies of one
    request would come at the same instant, which no two users do.
    """
    chance = random.Random(seed)  # noqa: S311 - a simulation that must be repeatable
    last = trace[-1].at if trace else 0.0
    found = []
    for request in trace:
        count = int(times) + (chance.random() < times - int(times))
        for index in range(count):
            shift = chance.uniform(-_JITTER_SECONDS, _JITTER_SECONDS) if index else 0.0
            at = min(last, max(0.0, request.at + shift))
            found.append(Request(at, request.prompt_tokens, request.output_tokens))
    return tuple(sorted(found, key=_at))


def with_past(trace: Trace, seconds: float) -> tuple[Trace, float]:
    """Put a past before the trace: its own first `seconds`, played backwards. Return both, and when the trace begins.

    No deployment is without a history, and this one ends in what the trace begins with; played backwards it tells
    nothing of when things happen.
    """
    length = min(seconds, trace[-1].at if trace else 0.0)
    past = [Request(length - r.at, r.prompt_tokens, r.output_tokens) for r in trace if 0 < r.at <= length]
    moved = [Request(length + r.at, r.prompt_tokens, r.output_tokens) for r in trace]
    return (*sorted(past, key=_at), *moved), length


def rates(trace: Trace, weigh: Callable[[Request], float], bin_seconds: float, until: float) -> list[float]:
    """Return the weight that arrives per second, in bins from 0 to `until`."""
    sums = [0.0] * max(1, int(-(-until // bin_seconds)))
    for request in trace:
        index = min(len(sums) - 1, int(request.at // bin_seconds))
        sums[index] += weigh(request)
    return [total / bin_seconds for total in sums]


def before(trace: Trace, seconds: float) -> Trace:
    """Return the requests that come before this time."""
    return trace[: bisect_left(trace, seconds, key=_at)]


def _at(request: Request) -> float:
    return request.at
