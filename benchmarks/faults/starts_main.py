"""`make starts`: start a group of two pods many times, in random order; writes build/bench/starts.json."""

import asyncio
import json
import random
import shutil
import statistics
import tempfile
from pathlib import Path
from typing import Any

import click

from faults.catalogue import ROOT
from faults.pods import Recipe
from faults.report import machine
from faults.starts import Start, draw, start

_FLAGS = ("--dtype=bfloat16", "--max-model-len=1024", "--kv-cache-memory-bytes=64M", "--enforce-eager")


@click.command()
@click.option("--count", type=click.IntRange(1), default=20, show_default=True, help="Starts.")
@click.option("--seed", type=int, default=None, help="The same delays again; without it a new one, which is printed.")
@click.option("--most", type=click.FloatRange(0), default=30.0, show_default=True, help="The longest delay, seconds.")
@click.option("--seconds", type=click.IntRange(30), default=300, show_default=True, help="A start may take so long.")
@click.option("--model", type=click.Path(exists=True, path_type=Path), default=ROOT / ".models" / "tiny")
@click.option("--out", type=click.Path(path_type=Path), default=ROOT / "build" / "bench" / "starts.json")
def main(count: int, seed: int | None, most: float, seconds: int, model: Path, out: Path) -> None:
    """Start a TP 2 group over two pods `count` times, with its pods in random order; each has to serve a token."""
    seed = random.SystemRandom().randrange(1 << 32) if seed is None else seed
    recipe = Recipe((f"--model={model}", "--served-model-name=tiny", *_FLAGS), {}, seconds)
    folder = Path(tempfile.mkdtemp(prefix="starts-"))
    click.echo(f"starts: {count} starts of two pods, SEED={seed}, delays of up to {most:g} s; logs in {folder}")
    document: dict[str, Any] = {"machine": machine(ROOT), "seed": seed, "starts": []}
    out.parent.mkdir(parents=True, exist_ok=True)
    found = []
    for number, plan in enumerate(draw(random.Random(seed), count, most)):  # noqa: S311 - repeatable, not secret
        found.append(asyncio.run(start(folder / str(number), recipe, plan)))
        click.echo(f"{number + 1:3d}: {_words(found[-1])}")
        document["starts"] = [each.row() for each in found]
        document["ready"] = sum(each.seconds is not None for each in found)
        out.write_text(json.dumps(document, indent=1) + "\n")
    took = [each.seconds for each in found if each.seconds is not None]
    median = f", median {statistics.median(took):.1f} s, longest {max(took):.1f} s" if took else ""
    click.echo(f"{len(took)} of {count} served a token{median}; {out}")
    if len(took) < count or any(each.left for each in found):
        raise SystemExit(1)
    shutil.rmtree(folder, ignore_errors=True)


def _words(one: Start) -> str:
    delays = ", ".join(f"rank {rank} after {delay:.1f} s" for rank, delay in enumerate(one.plan.delays))
    took = f"a token {one.seconds:.1f} s after the latest" if one.seconds is not None else f"NO token: {one.problem}"
    again = "" if set(one.launchers) == {1} else f", launchers started {one.launchers}"
    return f"{delays}: {took}{again}{f', LEFT BEHIND: {one.left}' if one.left else ''}"


if __name__ == "__main__":
    main()
