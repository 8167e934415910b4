"""Requests of a trace: reading its lines, and making it larger or smaller without changing its shape. Pure.

Two forms are known: Azure's (CSV with TIMESTAMP, ContextTokens, GeneratedTokens) and Mooncake's (one JSON object a line
with timestamp in ms, input_length, output_length). Shared prefixes are not read: the simulation has no prefix cache.
"""

import csv
import json
import random
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

_AZURE = ("TIMESTAMP", "ContextTokens", "GeneratedTokens")
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


def parse(lines: Iterable[str], where: str) -> Trace:
    """Read a trace of either form, in order of time, from 0 on.

    Args:
        lines: Of the file, the first one included.
        where: Its name, for messages.

    Raises:
        TraceError: names the line that cannot be used.
    """
    every = [line for line in lines if line.strip()]
    if not every:
        raise TraceError(f"{where} has no requests")
    rows = _json_rows(every, where) if every[0].lstrip().startswith("{") else _csv_rows(every, where)
    rows.sort()
    return tuple(Request(at - rows[0][0], prompt, output) for at, prompt, output in rows)


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
    past = [Request(length - r.at, r.prompt_tokens, r.output_tokens) for r in trace if r.at <= length]
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


def _csv_rows(lines: Sequence[str], where: str) -> list[tuple[float, int, int]]:
    reader = csv.DictReader(lines)
    names = reader.fieldnames or ()
    if any(name not in names for name in _AZURE):
        raise TraceError(
            f"{where}:1: neither JSON lines (timestamp, input_length, output_length) nor CSV with the columns "
            f"{', '.join(_AZURE)}; it begins with {lines[0].strip()[:60]!r}"
        )
    rows = []
    for number, row in enumerate(reader, start=2):
        try:
            # Seven digits of a second are one more than datetime knows.
            at = datetime.fromisoformat(row["TIMESTAMP"][:26]).timestamp()
            rows.append(_checked(at, int(row["ContextTokens"]), int(row["GeneratedTokens"]), f"{where}:{number}"))
        except (TypeError, ValueError) as error:
            raise _bad(error, f"{where}:{number}") from error
    if not rows:
        raise TraceError(f"{where} has a header and no requests")
    return rows


def _json_rows(lines: Sequence[str], where: str) -> list[tuple[float, int, int]]:
    rows = []
    for number, line in enumerate(lines, start=1):
        try:
            row = json.loads(line)
            at, prompt, output = float(row["timestamp"]), int(row["input_length"]), int(row["output_length"])
            rows.append(_checked(at / 1000, prompt, output, f"{where}:{number}"))
        except (KeyError, TypeError, ValueError) as error:
            raise _bad(error, f"{where}:{number}") from error
    return rows


def _checked(at: float, prompt: int, output: int, where: str) -> tuple[float, int, int]:
    if not (at == at and abs(at) != float("inf")):
        raise TraceError(f"{where}: the time is no number")
    if prompt < 1 or output < 0:
        raise TraceError(f"{where}: {prompt} prompt tokens and {output} of answer must be at least 1 and 0")
    return at, prompt, max(1, output)


def _bad(error: Exception, where: str) -> TraceError:
    if isinstance(error, TraceError):
        return error
    return TraceError(f"{where}: wants a time, and whole numbers of prompt and answer tokens ({error!r})")
