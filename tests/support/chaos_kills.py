"""kill -9 of the operator at random points, in series: change something, kill, start again; the end must be right.

Everything random comes from one seed. A kill is either inside the operator, right before or right after a write request
chosen by its number, or from outside after some milliseconds.
"""

import argparse
import asyncio
import random
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import SkipTest

from chaos_scene import Scene, scene
from cluster_server import found_alone

NAMES = ("red", "green", "blue")
KILLS_A_SERIES = 8
USUAL_WRITES = 5
LONGEST_LIFE = 3.0
"""Seconds an operator lives that does not come to the write at which it should die."""
QUIET_SECONDS = 2.0


@dataclass
class Toll:
    """What was done: changes by kind, and where the operator died."""

    changes: Counter[str] = field(default_factory=Counter)
    deaths: Counter[str] = field(default_factory=Counter)


async def series(stage: Scene, rng: random.Random, kills: int, toll: Toll) -> None:
    """Change and kill `kills` times, then let the operator live, and hold the end against what is asked for."""
    for _ in range(kills):
        toll.changes[await _change(stage, rng)] += 1
        toll.deaths[await _live_and_die(stage, rng)] += 1
    stage.operator.start()
    await stage.settled()
    await stage.until("it writes no more", lambda: stage.still(QUIET_SECONDS))  # a new operator may apply all once
    await stage.settled()
    assert (written := await stage.writes_in(QUIET_SECONDS)) == [], f"all is well, and still it writes {written}"
    assert "Traceback" not in stage.operator.log, stage.operator.log[-3000:]
    await stage.operator.kill()


async def _change(stage: Scene, rng: random.Random) -> str:
    name = rng.choice(NAMES)
    if name not in stage.wanted:
        if not await stage.gone(name):  # still leaving: its name is not free
            name = next((other for other in NAMES if other in stage.wanted), "")
            if not name:
                return "none: all are leaving"
        else:
            await stage.create(name, **_some(rng), replicas=rng.randint(0, 3))
            return "create"
    kind = rng.choice(("scale", "rollout", "rollout and scale", "delete"))
    if kind == "delete":
        await stage.delete(name)
    elif kind == "scale":
        await stage.change(name, replicas=rng.randint(0, 3))
    else:
        await stage.change(name, **_some(rng), **({} if kind == "rollout" else {"replicas": rng.randint(0, 3)}))
    return kind


def _some(rng: random.Random) -> dict[str, Any]:
    return {"engine": {"maxModelLen": rng.choice((256, 512, 1024))}, "router": {"port": rng.choice((8000, 8080))}}


async def _live_and_die(stage: Scene, rng: random.Random) -> str:
    how = rng.choice(("before a write", "after a write", "after some milliseconds"))
    if how == "after some milliseconds":
        stage.operator.start()
        await asyncio.sleep(rng.uniform(0.5, LONGEST_LIFE))
    else:
        stage.operator.start(die=f"{how.split()[0]}:{1 + int(rng.expovariate(1 / USUAL_WRITES))}")
        if not await stage.operator.dies_within(LONGEST_LIFE):
            how = "in want of a write"
    await stage.operator.kill()
    return how


async def run(kills: int, seed: int, folder: Path) -> Toll:
    """All series on the server that is found; the first that ends wrong raises AssertionError."""
    toll = Toll()
    with found_alone(folder / "server") as server:
        sys.stdout.write(f"{kills} kills on {server.what}, {server.version}, seed {seed}\n")
        for number in range(0, kills, KILLS_A_SERIES):
            part = min(KILLS_A_SERIES, kills - number)
            # Each series has its own seed, so that one can be run again without those before it.
            rng = random.Random(f"{seed}/{number}")
            async with scene(folder / str(number), f"manta-chaos-{number}", server) as stage:
                await series(stage, rng, part, toll)
            sys.stdout.write(f"{time.strftime('%H:%M:%S')} {number + part} kills survived\n")
            sys.stdout.flush()
    return toll


def main() -> int:
    """`make chaos KILLS=200 SEED=…`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=None)
    arguments = parser.parse_args()
    seed = random.SystemRandom().randrange(1 << 32) if arguments.seed is None else arguments.seed
    try:
        with tempfile.TemporaryDirectory(prefix="manta-chaos-") as folder:
            toll = asyncio.run(run(arguments.kills, seed, Path(folder)))
    except SkipTest as reason:
        sys.exit(f"chaos: {reason}")
    for title, counts in (("changed", toll.changes), ("died", toll.deaths)):
        sys.stdout.write(f"{title}: {', '.join(f'{each} {count}' for each, count in sorted(counts.items()))}\n")
    sys.stdout.write("every end was the one asked for: nothing orphaned, nothing doubled, no finalizer stuck\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
