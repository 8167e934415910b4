"""What an engine says of itself in its metrics: a few gauges out of a hundred kilobytes. Pure; `looks.py` asks."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

_RUNNING = b"\nvllm:num_requests_running{"
_WAITING = b"\nvllm:num_requests_waiting{"
_KV_USAGE = b"\nvllm:kv_cache_usage_perc{"
_CACHE = b"\nvllm:cache_config_info{"
_STARTED = b"\nprocess_start_time_seconds "


@dataclass(frozen=True, slots=True)
class Look:
    """One look at an engine. `cores`: engine cores behind its server; `kv_tokens`: their KV cache, 0 if unknown.

    `started`: another text after each start of the process, "" if unknown.
    """

    running: int = 0
    waiting: int = 0
    kv_usage: float = 0.0
    kv_tokens: int = 0
    cores: int = 1
    started: str = ""


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
        started.rpartition(b" ")[2].decode("latin-1"),
    )


def _lines(text: bytes, name: bytes) -> Iterator[bytes]:
    """The lines that begin with `name` (which begins with a newline). They stand together: metrics come by name."""
    start = text.find(name)
    while start >= 0:
        end = text.find(b"\n", start + 1)
        yield text[start + 1 : end if end >= 0 else None]
        start = end if end >= 0 and text.startswith(name, end) else -1


def _value(line: bytes) -> float:
    value = float(line.rpartition(b" ")[2])
    if not math.isfinite(value):
        raise ValueError(f"not a number of requests, nor a share: {value}")
    return value


def _tokens(line: bytes) -> int:
    """Of `vllm:cache_config_info{block_size="16",…,num_gpu_blocks="7000",…} 1.0`."""
    blocks, size = _label(line, b'num_gpu_blocks="'), _label(line, b'block_size="')
    return blocks * size


def _label(line: bytes, name: bytes) -> int:
    for before in (b",", b"{"):
        start = line.find(before + name)
        if start >= 0:
            start += len(name) + 1
            text = line[start : line.find(b'"', start)]
            return int(text) if text.isdigit() else 0
    return 0
