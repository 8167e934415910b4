"""`make streams`: thousands of streams held open at once through the router, each to its end.

docs/benchmarks.md says how to read it.
"""

import argparse
import asyncio
import json
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import uvloop

from routers import client
from routers.backend import CHUNKS
from routers.client import Samples, Target
from routers.contenders import manta, running
from routers.manta_router import ROOT
from routers.processes import Processes
from routers.stage import prompts, stage

OUTPUT = ROOT / "build" / "bench" / "streams.json"
_PAUSE_SECONDS = 0.25
_OPENING_RATE = 500.0
_ASKED_BESIDE = 20.0
"""Plain requests a second, sent while the streams are open."""


async def hold(count: int) -> dict[str, Any]:
    """Open `count` streams of CHUNKS chunks, a chunk every quarter second; returns what became of them."""
    with tempfile.TemporaryDirectory(prefix="manta-streams-") as scratch:
        async with (
            stage(Path(scratch), 4, _PAUSE_SECONDS) as place,
            running(manta, place) as (target, processes),
        ):
            before = processes.rss_bytes()
            beside = asyncio.create_task(_beside(target, count, processes))
            streams = await client.open_loop(
                target, prompts(1, 2000, stream=True), _OPENING_RATE, count / _OPENING_RATE
            )
            plain, peak = await beside
    return {
        "streams": count,
        "whole": len(streams.seconds),
        "failed": streams.failed,
        "chunks_missing": len(streams.seconds) * CHUNKS - streams.chunks,
        "seconds": round(streams.elapsed, 1),
        "kb_per_stream": round((peak - before) / count / 1024, 1),
        "plain_answered": len(plain.seconds),
        "plain_failed": plain.failed,
        "plain_p99_ms": round(1000 * plain.percentile(0.99), 1),
    }


async def _beside(target: Target, count: int, processes: Processes) -> tuple[Samples, int]:
    """Once all are open, and while they are: plain requests; returns their times and the router's memory then."""
    await asyncio.sleep(count / _OPENING_RATE + 2)
    began = time.monotonic()
    left = CHUNKS * _PAUSE_SECONDS - count / _OPENING_RATE - 10
    plain = await client.open_loop(target, prompts(2, 500), _ASKED_BESIDE, max(5.0, left))
    say(f"{count} streams open for {time.monotonic() - began:.0f} s")
    return plain, processes.rss_bytes()


def say(text: str) -> None:
    """Progress, on stderr."""
    print(text, file=sys.stderr, flush=True)


def main() -> None:
    """Run, write the report, and fail unless every stream came whole."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=5000)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    report = uvloop.run(hold(parser.parse_args().count))
    OUTPUT.parent.mkdir(parents=True, exist_ok=True)
    OUTPUT.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    print("\n".join(f"  {key:<16} {value}" for key, value in report.items()))
    sys.exit(1 if report["failed"] or report["chunks_missing"] or report["whole"] != report["streams"] else 0)


if __name__ == "__main__":
    main()
