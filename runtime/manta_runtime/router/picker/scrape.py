"""What an engine says of itself in its metrics: a few numbers out of a hundred kilobytes. Pure; `looks.py` asks.

The lines of one metric stand together: each is found once and read on from there, nothing else is looked into.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

_RUNNING = b"\nvllm:num_requests_running{"
_WAITING = b"\nvllm:num_requests_waiting{"
_KV_USAGE = b"\nvllm:kv_cache_usage_perc{"
_CACHE = b"\nvllm:cache_config_info{"
_STARTED = b"\nprocess_start_time_seconds "
_PROMPT = b"\nvllm:prompt_tokens_total{"
_GENERATED = b"\nvllm:generation_tokens_total{"
_HITS = b"\nvllm:prefix_cache_hits_total{"
_FIRST = b"\nvllm:time_to_first_token_seconds_"
_BETWEEN = b"\nvllm:inter_token_latency_seconds_"
_BUCKET = b"bucket{"
_LARGEST = 1 << 53  # beyond it a float counts no more in ones
_LONGEST = 64  # of a number, written down
_MOST_BUCKETS = 64
_MOST_LINES = 8192  # of one histogram: those of 100 engine cores


@dataclass(frozen=True, slots=True)
class Buckets:
    """A histogram: `counts[i]` took at most `bounds[i]` seconds and more than the bound before; the last, more."""

    bounds: tuple[float, ...]
    counts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Look:
    """One look at an engine. `cores`: engine cores behind its server; `kv_tokens`: their KV cache, 0 if unknown.

    `started`: another text after each start of the process, "" if unknown. The rest counts since then, over all cores:
    tokens of prompts (`hit_tokens`: those that its cache saved) and of answers, and how long the first token and each
    one after it took. None: it does not say.
    """

    running: int = 0
    waiting: int = 0
    kv_usage: float = 0.0
    kv_tokens: int = 0
    cores: int = 1
    started: str = ""
    prompt_tokens: int | None = None
    generated_tokens: int | None = None
    hit_tokens: int | None = None
    first_token: Buckets | None = None
    between_tokens: Buckets | None = None


def read(text: bytes) -> Look | None:
    """The look that the metrics give; None if the counts of requests are not there. ValueError for broken numbers."""
    text = b"\n" + text
    running = [_value(line) for line in _lines(text, _RUNNING)]
    waiting = [_value(line) for line in _lines(text, _WAITING)]
    if not running and not waiting:
        return None
    usages = [_value(line) for line in _lines(text, _KV_USAGE)]
    started = next(_lines(text, _STARTED), b"")
    return Look(
        round(sum(running)),
        round(sum(waiting)),
        max(usages, default=0.0),
        sum(_tokens(line) for line in _lines(text, _CACHE)),
        max(1, len(running)),
        started.rpartition(b" ")[2][:_LONGEST].decode("latin-1"),
        _total(text, _PROMPT),
        _total(text, _GENERATED),
        _total(text, _HITS),
        _histogram(text, _FIRST),
        _histogram(text, _BETWEEN),
    )


def _total(text: bytes, name: bytes) -> int | None:
    found = [_value(line) for line in _lines(text, name)]
    return round(sum(found)) if found else None


def _histogram(text: bytes, name: bytes) -> Buckets | None:
    """The sum over all engine cores; each tells its buckets, then their count and sum, then comes the next core.

    None without bounds that rise to infinity: it is told in a way that we do not know.
    """
    below: dict[bytes, float] = {}
    first = text.find(name + _BUCKET)
    if first < 0:
        return None
    begin = len(name) - 1
    for number, line in enumerate(_lines(text, name, first)):
        if line.startswith(_BUCKET, begin):
            bound = _quoted(line, b'le="')
            below[bound] = below.get(bound, 0.0) + _value(line)
        if number >= _MOST_LINES or len(below) > _MOST_BUCKETS:
            raise ValueError("too many buckets")
    bounds = tuple([float(bound) for bound in below])
    if bounds[-1:] != (math.inf,) or not all(a < b for a, b in pairwise((0.0, *bounds))):
        return None
    totals = list(below.values())
    counts = tuple([round(total - before) for before, total in zip([0.0, *totals], totals, strict=False)])
    if min(counts) < 0:
        raise ValueError("not a histogram: its buckets fall")
    return Buckets(bounds[:-1], counts)


def _lines(text: bytes, name: bytes, start: int = 0) -> Iterator[bytes]:
    """The lines from `start` on that begin with `name`, which begins with a newline; they stand together."""
    start = text.find(name, start)
    while start >= 0:
        end = text.find(b"\n", start + 1)
        yield text[start + 1 : end if end >= 0 else None]
        start = end if end >= 0 and text.startswith(name, end) else -1


def _value(line: bytes) -> float:
    value = float(line.rpartition(b" ")[2])
    if not 0 <= value <= _LARGEST:
        raise ValueError(f"neither a count nor a share: {value}")
    return value


def _tokens(line: bytes) -> int:
    """Of `vllm:cache_config_info{block_size="16",…,num_gpu_blocks="7000",…} 1.0`."""
    blocks, size = _quoted(line, b'num_gpu_blocks="'), _quoted(line, b'block_size="')
    return int(blocks) * int(size) if blocks.isdigit() and size.isdigit() else 0


def _quoted(line: bytes, name: bytes) -> bytes:
    """The value of a label; `name` ends with its opening quote. Empty if it is not there."""
    for before in (b",", b"{"):
        start = line.find(before + name)
        if start >= 0:
            start += len(name) + 1
            return line[start : line.find(b'"', start)]
    return b""
