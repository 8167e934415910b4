"""`make soak`: the router for half an hour at half of what it can do, with flat memory and nothing lost.

docs/benchmarks.md says how to read it.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import uvloop

from routers import client
from routers.client import Samples, Target
from routers.contenders import manta, running
from routers.manta_router import ROOT
from routers.processes import Processes
from routers.stage import prompts, stage

OUTPUT = ROOT / "build" / "bench" / "soak.json"
_PIECE_SECONDS = 20.0
_STREAM_SHARE = 0.05
"""Of the requests; a stream is 200 chunks, so that they make most of the bytes."""
_WARM_SHARE = 0.2
"""The first part of the time, in which caches fill and memory may grow."""
_GROWTH_LIMIT = 0.05
_MOST_OPEN = 2000
"""Connections: on a machine that stands still for seconds, what is due piles up before the router, not in our files."""


async def soak(minutes: float) -> dict[str, Any]:
    """Find the saturation, then run at half of it; returns requests, failures, and memory over time."""
    with tempfile.TemporaryDirectory(prefix="manta-soak-") as scratch:
        async with (
            stage(Path(scratch), 4) as place,
            running(manta, place) as (target, processes),
        ):
            full = await client.closed_loop(target, _mixed(0), 16, 10.0)
            rate = 0.5 * len(full.seconds) / full.elapsed
            say(f"saturated at {2 * rate:.0f} requests/s: going on at {rate:.0f} for {minutes:g} minutes")
            return await _run(target, processes, rate, minutes)


async def _run(target: Target, processes: Processes, rate: float, minutes: float) -> dict[str, Any]:
    total, memory, started = Samples(), [], time.monotonic()
    while (elapsed := time.monotonic() - started) < minutes * 60:
        piece = await client.open_loop(target, _mixed(len(memory) + 1), rate, _PIECE_SECONDS, _MOST_OPEN)
        total.seconds += piece.seconds[:: max(1, len(piece.seconds) // 100)]
        total.failed += piece.failed
        total.chunks += len(piece.seconds)
        memory.append(
            (round(elapsed), {name: round(size / 2**20, 1) for name, size in processes.rss_by_name().items()})
        )
        say(f"{elapsed / 60:5.1f} min  {memory[-1][1]} MB  {total.failed} failed")
    return {
        "rate": round(rate, 1),
        "answered": total.chunks,
        "failed": total.failed,
        "p99_ms": round(1000 * total.percentile(0.99), 2),
        "memory_mb": memory,
        "growth": growth([sum(sizes.values()) for _, sizes in memory]),
    }


def growth(memory: Sequence[float]) -> float:
    """How much memory grew after the warm-up: the mean of the last quarter over that of the first, minus one."""
    warm = memory[int(len(memory) * _WARM_SHARE) :]
    quarter = max(1, len(warm) // 4)
    first, last = warm[:quarter], warm[-quarter:]
    return round((sum(last) / len(last)) / (sum(first) / len(first)) - 1, 4)


def _mixed(seed: int) -> list[bytes]:
    whole, streams = prompts(seed, 2000), prompts(seed, int(2000 * _STREAM_SHARE), stream=True)
    step = int(1 / _STREAM_SHARE)
    for number, body in enumerate(streams):
        whole[number * step] = body
    return whole


def say(text: str) -> None:
    """Progress, on stderr."""
    print(text, file=sys.stderr, flush=True)


def main() -> None:
    """Run, write the report, and fail if memory grew or a request failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    report = uvloop.run(soak(parser.parse_args().minutes))
    OUTPUT.parent.mkdir(parents=True, exist_ok=True)
    OUTPUT.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    flat = report["growth"] <= _GROWTH_LIMIT
    print(
        f"{report['answered']} requests at {report['rate']}/s, {report['failed']} failed, p99 {report['p99_ms']} ms; "
        f"memory after the warm-up grew by {100 * report['growth']:.1f} % ({'flat' if flat else 'NOT FLAT'})"
    )
    sys.exit(0 if flat and not report["failed"] else 1)


if __name__ == "__main__":
    main()
