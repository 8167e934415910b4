"""Requests of a trace, and making it larger or smaller without changing its shape. Pure; `forms.py` reads its lines."""

import random
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass

MOST_REQUESTS = 3_000_000
"""Of a trace, copies included: so many take a gigabyte and some minutes a policy."""

MOST_SECONDS = 31 * 86_400.0
_JITTER_SECONDS = 30.0
_BLOCK_SECONDS = 60.0
"""Of a past: so much of the trace stays in one piece."""


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


def with_past(trace: Trace, seconds: float, seed: int = 1) -> tuple[Trace, float]:
    """Put a past before the trace: minutes of it, shuffled. Return both, and when the trace begins.

    No deployment is without a history. This one has the trace's own minutes (which loads there are, how they fluctuate
    within a minute, what requests look like), each at most once before all were there, in an order of chance: it tells
    nothing of when a load comes, how long it lasts, nor what follows what. It does tell how high rushes get.
    """
    chance = random.Random(seed)  # noqa: S311 - a simulation that must be repeatable
    whole = int(trace[-1].at // _BLOCK_SECONDS) if trace else 0
    count = int(seconds // _BLOCK_SECONDS) if whole else 0
    order: list[int] = []
    while len(order) < count:
        order += chance.sample(range(whole), whole)
    past: list[Request] = []
    for place, block in enumerate(order[:count]):
        shift = (place - block) * _BLOCK_SECONDS
        first, last = (bisect_left(trace, (block + more) * _BLOCK_SECONDS, key=_at) for more in (0, 1))
        past += [Request(r.at + shift, r.prompt_tokens, r.output_tokens) for r in trace[first:last]]
    length = count * _BLOCK_SECONDS
    return (*past, *(Request(length + r.at, r.prompt_tokens, r.output_tokens) for r in trace)), length


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
