"""`make bench-router`: Manta's router and its peers before the same backends, in turn, on one machine.

docs/benchmarks.md says what is measured and how to read it.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvloop

from routers import client
from routers.client import Target
from routers.contenders import CONTENDERS, running
from routers.manta_router import ROOT
from routers.processes import ContenderError, Processes
from routers.report import goals, summary, table
from routers.stage import prompts, stage

OUTPUT = ROOT / "build" / "bench" / "router.json"
_CONNECTIONS = 16
_RATE = 200.0


@dataclass(frozen=True)
class Options:
    """How long each measurement takes in seconds, how often all are repeated, and with how many backends."""

    seconds: float
    rounds: int
    backends: int
    only: tuple[str, ...]


async def measure(target: Target, processes: Processes, seconds: float, seed: int) -> dict[str, float]:
    """One contender, once: at saturation, streaming, and at a fixed rate. Times in milliseconds."""
    whole, streams = prompts(seed), prompts(seed + 1, stream=True)
    await client.closed_loop(target, whole, _CONNECTIONS, 1.0)
    before = processes.cpu_seconds()
    full = await client.closed_loop(target, whole, _CONNECTIONS, seconds)
    cpu = processes.cpu_seconds() - before
    streamed = await client.closed_loop(target, streams, _CONNECTIONS, seconds)
    calm = await client.open_loop(target, whole, _RATE, seconds)
    failed = full.failed + streamed.failed + calm.failed
    if failed:
        raise ContenderError(f"{failed} requests failed")
    answered = len(full.seconds)
    return {
        "rps": answered / full.elapsed,
        "chunks_per_s": streamed.chunks / streamed.elapsed,
        "cpu_s_per_1000": 1000 * cpu / answered,
        "rss_mb": processes.rss_bytes() / 2**20,
    } | {
        f"{name}_p{share}_ms": 1000 * samples.percentile(share / 100)
        for name, samples in (("at_rate", calm), ("saturated", full))
        for share in (50, 95, 99)
    }


async def race(options: Options) -> dict[str, Any]:
    """All contenders in turn, `rounds` times; returns what each round measured, and why a contender was left out."""
    found: dict[str, list[dict[str, float]]] = {name: [] for name in options.only}
    left_out: dict[str, str] = {}
    with tempfile.TemporaryDirectory(prefix="manta-bench-") as scratch:
        folder = Path(scratch)
        async with stage(folder, options.backends) as place:
            for number in range(options.rounds):
                for name in options.only:
                    if name in left_out:
                        continue
                    try:
                        async with running(CONTENDERS[name], place) as (target, processes):
                            found[name].append(await measure(target, processes, options.seconds, number))
                    except ContenderError as error:
                        left_out[name] = str(error)
                        say(f"{name} is left out: {error}")
                        continue
                    say(f"round {number + 1}, {name}: {found[name][-1]['rps']:.0f} requests/s")
    return {"rounds": found, "left_out": left_out}


def say(text: str) -> None:
    """Progress, on stderr."""
    print(text, file=sys.stderr, flush=True)


def options(arguments: Sequence[str]) -> Options:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=6.0, help="length of each measurement (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="how often all are measured (default: %(default)s)")
    parser.add_argument("--backends", type=int, default=4, help="backends behind each router (default: %(default)s)")
    parser.add_argument("--only", nargs="+", choices=sorted(CONTENDERS), help="these contenders (default: all)")
    read = parser.parse_args(arguments)
    only = tuple(name for name in CONTENDERS if read.only is None or name in read.only or name == "direct")
    return Options(read.seconds, read.rounds, read.backends, only)


def main() -> None:
    """Run, print the table, write the report."""
    found = uvloop.run(race(options(sys.argv[1:])))
    report = summary(found)
    OUTPUT.parent.mkdir(parents=True, exist_ok=True)
    OUTPUT.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    print(table(report))
    print(goals(report))
    print(f"written to {OUTPUT.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
