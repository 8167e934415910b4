"""The forms of traces: which one a file's lines have, and the requests in them. Pure; `trace.py` says what they become.

    Azure       CSV with the columns TIMESTAMP, ContextTokens, GeneratedTokens
    Mooncake    JSON lines with timestamp (ms), input_length, output_length
    plain       CSV with the columns seconds, prompt_tokens, output_tokens
    access log  what the router writes: JSON lines with time, prompt_tokens, completion_tokens

The first line that has the form of one decides. A trace that somebody made is read strictly: a line that cannot be used
is told of. A log holds other lines (what Envoy says of itself, questions for the models, refusals without tokens):
these are left out, and counted. Shared prefixes are not read, for the simulation has no prefix cache.
"""

import csv
import itertools
import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from manta_operator.scaling.simulation.trace import MOST_REQUESTS, MOST_SECONDS, Request, Trace, TraceError

WANTED = (
    "CSV with TIMESTAMP, ContextTokens, GeneratedTokens (Azure) or seconds, prompt_tokens, output_tokens, JSON lines "
    "with timestamp (ms), input_length, output_length (Mooncake), or the router's access log"
)
_AZURE = ("TIMESTAMP", "ContextTokens", "GeneratedTokens")
_PLAIN = ("seconds", "prompt_tokens", "output_tokens")
_MOONCAKE = ("timestamp", "input_length", "output_length")
_LOG = ("time", "prompt_tokens", "completion_tokens")
_SEARCHED = 200
"""Lines of a log that may come before the first of a request."""
_LARGEST = 10_000_000
"""Tokens of a request that anybody could mean."""

_DIGITS = re.compile(r"(\.\d{6})\d+")

_Row = tuple[float, int, int]


@dataclass(frozen=True)
class Parsed:
    """The requests in order of time, from 0 on. `left_out`: lines of a log that are no request with tokens."""

    trace: Trace
    form: str
    left_out: int = 0
    cached: float = 0.0
    """Share of the prompt tokens that a prefix cache had, where the form tells."""


def parse(lines: Iterable[str], where: str) -> Parsed:
    """Read a trace of any form.

    Args:
        lines: Of the file, the first one included.
        where: Its name, for messages.

    Raises:
        TraceError: names the line that cannot be used.
    """
    numbered = ((number, line) for number, line in enumerate(lines, start=1) if line.strip())
    head = list(itertools.islice(numbered, 1))
    if not head:
        raise TraceError(f"{where} has no requests: it is empty")
    text = head[0][1]
    names = _columns(text)
    if all(name in names for name in _AZURE):
        return _parsed(_csv(numbered, names, _AZURE, _moment, where), "Azure", where)
    if all(name in names for name in _PLAIN):
        return _parsed(_csv(numbered, names, _PLAIN, float, where), "plain CSV", where)
    if _has(_object(text), _MOONCAKE):
        return _parsed(_mooncake(itertools.chain(head, numbered), where), "Mooncake", where)
    head += itertools.islice(numbered, _SEARCHED)
    if any(_has(_object(line), _LOG) for _, line in head):
        return _of_log(itertools.chain(head, numbered), where)
    raise TraceError(
        f"{where}:{head[0][0]}: no form that is known: give {WANTED}; it begins with {text.strip()[:60]!r}"
    )


def _columns(line: str) -> tuple[str, ...]:
    """Return the names of a CSV's columns; a line of something else may have any."""
    try:
        return tuple(name.strip() for name in next(csv.reader([line.lstrip("\ufeff")]), []))
    except csv.Error:
        return ()


def _parsed(rows: Iterator[_Row], form: str, where: str, left_out: int = 0, cached: float = 0.0) -> Parsed:
    found = list(itertools.islice(rows, MOST_REQUESTS + 1))
    if not found:
        raise TraceError(f"{where} has no requests: nothing follows its first line")
    if len(found) > MOST_REQUESTS:
        raise TraceError(f"{where} has more than {MOST_REQUESTS} requests: give a part of it")
    found.sort()
    first, last = found[0][0], found[-1][0]
    if last - first > MOST_SECONDS:
        raise TraceError(
            f"{where}: its requests lie {(last - first) / 86_400:.0f} days apart, and a simulation takes at most "
            f"{MOST_SECONDS / 86_400:.0f}: give a part of it (and look for times in another unit)"
        )
    return Parsed(tuple(Request(at - first, prompt, output) for at, prompt, output in found), form, left_out, cached)


def _csv(
    lines: Iterable[tuple[int, str]],
    names: tuple[str, ...],
    wanted: tuple[str, ...],
    read: Callable[[str], float],
    where: str,
) -> Iterator[_Row]:
    columns = [names.index(name) for name in wanted]
    for number, line in lines:
        try:
            cells = next(csv.reader([line], strict=True))
            at, prompt, output = (cells[column].strip() for column in columns)
            yield _checked(read(at), int(prompt), int(output), f"{where}:{number}")
        except (ValueError, IndexError, OverflowError, csv.Error) as error:
            raise _bad(error, f"{where}:{number}") from error


def _moment(text: str) -> float:
    """Seven digits of a second are one more than datetime knows. Raises ValueError."""
    moment = datetime.fromisoformat(_DIGITS.sub(r"\1", text))
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _mooncake(lines: Iterable[tuple[int, str]], where: str) -> Iterator[_Row]:
    for number, line in lines:
        try:
            row = json.loads(line)
            at, prompt, output = float(row["timestamp"]), int(row["input_length"]), int(row["output_length"])
            yield _checked(at / 1000, prompt, output, f"{where}:{number}")
        except (KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
            raise _bad(error, f"{where}:{number}") from error


def _of_log(lines: Iterable[tuple[int, str]], where: str) -> Parsed:
    rows: list[_Row] = []
    left_out = cached = prompts = 0
    for number, line in lines:
        row = _object(line)
        if not (_has(row, _LOG) and _is_count(row["prompt_tokens"]) and _is_count(row["completion_tokens"])):
            left_out += 1
            continue
        try:
            at = _moment(row["time"])
            rows.append(_checked(at, row["prompt_tokens"], row["completion_tokens"], f"{where}:{number}"))
        except (TypeError, ValueError, OverflowError):
            left_out += 1
            continue
        prompts += row["prompt_tokens"]
        cached += min(row["prompt_tokens"], row.get("cached_tokens")) if _is_count(row.get("cached_tokens")) else 0
        if len(rows) > MOST_REQUESTS:
            break
    if not rows:
        raise TraceError(f"{where} is an access log in which no request has tokens: none was answered by an engine")
    return _parsed(iter(rows), "access log", where, left_out, cached / prompts)


def _object(line: str) -> Mapping[str, Any]:
    """Return the JSON object of a line; empty where it is none."""
    if not line.lstrip("\ufeff \t").startswith("{"):
        return {}
    try:
        found = json.loads(line.lstrip("\ufeff"))
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _has(row: Mapping[str, Any], names: tuple[str, ...]) -> bool:
    return all(name in row for name in names)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _checked(at: float, prompt: int, output: int, where: str) -> _Row:
    if not math.isfinite(at):
        raise TraceError(f"{where}: the time is no number")
    if not (1 <= prompt <= _LARGEST and 0 <= output <= _LARGEST):
        raise TraceError(
            f"{where}: {prompt:.12g} prompt tokens and {output:.12g} of answer: 1 and 0 at least, {_LARGEST} at most"
        )
    return at, prompt, max(1, output)


def _bad(error: Exception, where: str) -> TraceError:
    if isinstance(error, TraceError):
        return error
    return TraceError(f"{where}: wants a time, and whole numbers of prompt and answer tokens ({error!r:.120})")
