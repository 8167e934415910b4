"""Traces made up for what the real one lacks: hot system prompts, long conversations, no sharing at all. Pure.

Arrivals are Poisson, lengths log-normal; all chance comes from the seed.
"""

from __future__ import annotations

import csv
import gzip
import itertools
import math
import random
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from affinity.traces import BLOCK_TOKENS, Ask, TraceError

KINDS = ("hot", "turns", "unshared", "agents", "azure")
AZURE = "data/azure_llm_2023_code.csv.gz"


def make(kind: str, *, rate: float, count: int, seed: int = 1, data: Path | None = None) -> list[Ask]:
    """Return `count` requests at `rate` a second.

    hot: 80 % begin with one of three system prompts of 2,048 to 4,096 tokens, then text of their own.
    turns: conversations of some 12 turns that grow by the answer and the next question, half a minute apart.
    unshared: nothing in common. agents: 20 tools lists of up to 8,192 tokens, under each of which conversations grow.
    azure: the lengths and arrivals of the Azure code trace in `data` (a folder), nothing shared.
    """
    chance = random.Random(seed)  # noqa: S311 - a simulation that must be repeatable
    ids = itertools.count()
    if kind == "azure":
        rows = _azure(data, ids, rate, count)
    elif kind in ("turns", "agents"):
        rows = _conversations(chance, ids, rate, count, tools=20 if kind == "agents" else 0)
    elif kind in ("hot", "unshared"):
        rows = _singles(chance, ids, rate, count, hot=0.8 if kind == "hot" else 0.0)
    else:
        raise TraceError(f"no made-up trace is called {kind}: there are {', '.join(KINDS)}")
    rows = sorted(rows)[:count]
    first = rows[0][0]
    return [Ask(i, at - first, prompt, output, blocks) for i, (at, prompt, output, blocks) in enumerate(rows)]


_Row = tuple[float, int, int, tuple[int, ...]]
_Ids = Iterator[int]


def _singles(chance: random.Random, ids: _Ids, rate: float, count: int, hot: float) -> list[_Row]:
    systems = [_fresh(ids, length) for length in (4096, 3072, 2048)]
    rows, now = [], 0.0
    for _ in range(count):
        now += chance.expovariate(rate)
        system = chance.choices(systems, (0.6, 0.3, 0.1))[0] if chance.random() < hot else ()
        own = _length(chance, 1200)
        prompt = len(system) * BLOCK_TOKENS + own
        rows.append((now, prompt, _length(chance, 200), system + _fresh(ids, own)))
    return rows


def _conversations(chance: random.Random, ids: _Ids, rate: float, count: int, tools: int) -> list[_Row]:
    turns = 12
    systems = [_fresh(ids, BLOCK_TOKENS * chance.randint(4, 16)) for _ in range(tools)]
    weights = [1 / (place + 1) for place in range(tools)]
    rows: list[_Row] = []
    now = 0.0
    while len(rows) < count * 1.3:
        now += chance.expovariate(rate / turns)
        blocks = chance.choices(systems, weights)[0] if systems else ()
        tokens, at = len(blocks) * BLOCK_TOKENS, now
        for _ in range(1 + int(chance.expovariate(1 / (turns - 1)))):
            output = _length(chance, 250)
            tokens += _length(chance, 700)
            # What the last block of a prompt will be is not known to the next turn: it has an id of its own.
            whole = tokens // BLOCK_TOKENS
            blocks += tuple(itertools.islice(ids, whole - len(blocks)))
            rest = (next(ids),) if tokens % BLOCK_TOKENS else ()
            rows.append((at, tokens, output, blocks + rest))
            tokens += output
            at += 5 + chance.expovariate(1 / 25)
    return rows


def _azure(data: Path | None, ids: _Ids, rate: float, count: int) -> list[_Row]:
    path = (data or Path()) / AZURE
    try:
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            found = list(itertools.islice(csv.DictReader(lines), count))
    except OSError as error:
        raise TraceError(f"the Azure trace cannot be read: {error}; give the folder that has {AZURE}") from error
    times = [datetime.fromisoformat(row["TIMESTAMP"][:26]).timestamp() for row in found]
    scale = rate * (times[-1] - times[0]) / len(times)
    rows = []
    for at, row in zip(times, found, strict=True):
        prompt = max(1, int(row["ContextTokens"]))
        rows.append((at / scale, prompt, max(1, int(row["GeneratedTokens"])), _fresh(ids, prompt)))
    return rows


def _fresh(ids: _Ids, tokens: int) -> tuple[int, ...]:
    return tuple(itertools.islice(ids, -(-tokens // BLOCK_TOKENS)))


def _length(chance: random.Random, median: int) -> int:
    """Log-normal, at most 40 times the median."""
    return max(1, int(min(40 * median, math.exp(chance.gauss(math.log(median), 1.0)))))
