"""Requests with shared prefixes, read from a trace of Mooncake's form. Effects: reads one file.

One JSON object a line: `timestamp` (ms), `input_length` and `output_length` (tokens), `hash_ids` (one per 512-token
block of the prompt, the last one shorter; equal ids mean equal prompts up to the end of that block).
"""

from __future__ import annotations

import gzip
import json
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

BLOCK_TOKENS = 512
_SUFFIXES = ("", ".jsonl.gz", ".jsonl", ".gz")


class TraceError(ValueError):
    """The trace cannot be used; the message says what, where and what would do."""


@dataclass(frozen=True, slots=True)
class Ask:
    """One request: `at` seconds after the first, lengths in tokens, `blocks` the ids of the prompt's blocks."""

    index: int
    at: float
    prompt_tokens: int
    output_tokens: int
    blocks: tuple[int, ...]


def find(name: str | Path, roots: Iterable[Path]) -> Path:
    """Return the file that `name` means: as given or below one of `roots`, with or without .jsonl or .jsonl.gz.

    Raises TraceError when there is none.
    """
    for root in (Path(), *roots):
        for suffix in _SUFFIXES:
            path = root / f"{name}{suffix}"
            if path.is_file():
                return path
    raise TraceError(
        f"no trace at {name} (nor with .jsonl or .jsonl.gz behind it): give a file with one JSON object a "
        "line, with timestamp (ms), input_length, output_length and hash_ids (TRACE=path/to/trace.jsonl)"
    )


def load(path: Path, *, limit: int = 0, rate_scale: float = 1.0) -> list[Ask]:
    """Read a trace in order of time; `rate_scale` 2 makes its requests come twice as fast, `limit` keeps the first.

    Raises TraceError with the number of a line that cannot be used.
    """
    rows = []
    try:
        for number, line in enumerate(_lines(path), start=1):
            if line.strip():
                rows.append(_row(json.loads(line), f"{path}:{number}"))
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise TraceError(f"{path} cannot be read: {error}") from error
    except json.JSONDecodeError as error:
        raise TraceError(f"{path}:{number}: not a JSON object: {error}") from error
    if not rows:
        raise TraceError(f"{path} has no requests")
    rows.sort(key=lambda row: row[0])
    first = rows[0][0]
    kept = rows[:limit] if limit else rows
    return [Ask(i, (at - first) / 1000 / rate_scale, *rest) for i, (at, *rest) in enumerate(kept)]


def best_possible(asks: Iterable[Ask]) -> float:
    """Share of the blocks that are prefix hits on one engine with an infinite cache, each request done at once."""
    seen: set[int] = set()
    hits = total = 0
    for ask in asks:
        total += len(ask.blocks)
        for block in ask.blocks:
            if block not in seen:
                break
            hits += 1
        seen.update(ask.blocks)
    return hits / total if total else 0.0


def _lines(path: Path) -> Iterator[str]:
    with path.open("rb") as raw:
        packed = raw.read(2) == b"\x1f\x8b"
    with gzip.open(path, "rt", encoding="utf-8") if packed else path.open(encoding="utf-8") as lines:
        yield from lines


def _row(found: object, where: str) -> tuple[float, int, int, tuple[int, ...]]:
    if not isinstance(found, dict):
        raise TraceError(f"{where}: not a JSON object")
    try:
        at, prompt, output = float(found["timestamp"]), int(found["input_length"]), int(found["output_length"])
        blocks = tuple(int(block) for block in found["hash_ids"])
    except (KeyError, TypeError, ValueError) as error:
        raise TraceError(
            f"{where}: wants numbers in timestamp, input_length, output_length and hash_ids ({error!r})"
        ) from error
    if prompt < 1 or output < 0:
        raise TraceError(f"{where}: input_length {prompt} and output_length {output} must be at least 1 and 0")
    return at, prompt, max(1, output), blocks
