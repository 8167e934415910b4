"""Whether real vLLM's answers become slower in a line, so that its limit shows before it is full (law.py).

    levels    Poisson arrivals at shares of what the full engine does, in an order of chance, `_LEVEL_SECONDS` each; its
              own metrics are read every 2 s, as the operator does, and windows of 10 s make a point each
    exact     how many run is taken from the times between tokens that the engine sums up, not from those looks
    full      a crowd at once, before and after: from the first look with a queue of it to the last, the same counters
    work      in units of what was measured of single steps (`measured`), and of what the planner says of an engine
              on CPU that it knows nothing of (`planner's`): only the ratio of prompts to answers differs

Effects: starts vLLM with the tiny model, sends requests, ends it. Client, server and engine share the cores.
"""

from __future__ import annotations

import asyncio
import os
import random
import statistics
import sys
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from autoscaler_validation.law import Fit, Point, Seen, believed, between, between_tokens, exactly, fitted, windows
from autoscaler_validation.on_cpu import SEQUENCES, started, steps
from manta_operator.planning.autoscale import DECODE_CPU, PREFILL_CPU
from manta_operator.scaling import slowdown
from manta_operator.scaling.settings import LOOK_SECONDS, Estimate
from manta_operator.scaling.signals import EngineSignals
from manta_operator.scaling.simulation.trace import Request
from manta_runtime.router.picker.scrape import read

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from autoscaler_validation.on_cpu import Asked
    from manta_operator.scaling.simulation.model import EngineModel

LEVELS = (0.1, 0.25, 0.4, 0.55, 0.7)
WINDOW_SECONDS = 10.0
_LEVEL_SECONDS, _BEFORE_SECONDS = 46.0, 3.0
"""Of each level, and of these what nothing is learned from: the engine fills."""
_PROMPTS, _ANSWERS = (32, 500), (32, 256)
_CROWD = 240


@dataclass(frozen=True)
class Found:
    """Points of each level, both crowds, and what slowdown.py itself added up over its own windows of 30 s.

    `steps`: of one request, and of all places (s), as measured without anything else.
    """

    levels: dict[float, list[Point]]
    full: tuple[Point, Point]
    line: slowdown.Line
    estimates: dict[str, Estimate]
    loads: tuple[float, ...]
    steps: tuple[float, float]

    @property
    def points(self) -> list[Point]:
        """All windows of the levels."""
        return [point for points in self.levels.values() for point in points]

    def capacity(self, estimate: Estimate) -> float:
        """Return the work a second of the full engine, the mean of both crowds."""
        return statistics.fmean(point.work(estimate) for point in self.full)

    def fits(self) -> dict[str, tuple[Fit, float]]:
        """Return the line in each unit of work, and the capacity that was measured in it."""
        found: dict[str, tuple[Fit, float]] = {}
        for name, each in self.estimates.items():
            found[name] = fitted(self.points, each), self.capacity(each)
            found[f"{name}, exact"] = fitted(exactly(self.points), each), self.capacity(each)
        name, estimate = next(iter(self.estimates.items()))
        sums = self.line.sums
        limit, sure, _ = believed(sums, estimate.sequences)
        theirs = Fit(limit=limit, sure=sure, number=round(sums.number))
        return found | {f"{name}, slowdown.py's own windows": (theirs, self.capacity(estimate))}

    def as_json(self) -> dict[str, Any]:
        """Return everything as plain values."""
        return {
            "levels": {str(level): [asdict(point) for point in points] for level, points in self.levels.items()},
            "full": [asdict(point) for point in self.full],
            "fits": {name: {**fit._asdict(), "measured": full} for name, (fit, full) in self.fits().items()},
            "estimates": {
                name: [each.prefill_tokens_per_s, each.decode_tokens_per_s] for name, each in self.estimates.items()
            },
            "load of the machine": self.loads,
            "steps of one, of all places (s)": self.steps,
        }


def measure(model: Path, seed: int) -> Found:
    """Return what real vLLM showed; about five minutes."""
    return asyncio.run(_measure(model, seed))


async def _measure(model: Path, seed: int) -> Found:
    chance = random.Random(seed)  # noqa: S311 - requests that must be repeatable
    loads = [os.getloadavg()[0]]
    async with started(model, seed) as asked:
        engine, _ = await steps(asked)
        estimate = _estimate(engine)
        crowd = tuple(_request(chance, 0.0) for _ in range(_CROWD))
        before, a_second = await _full(asked, crowd)
        levels, line = {}, slowdown.Line()
        for level in chance.sample(LEVELS, len(LEVELS)):
            looks = await _watched(asked, _arrivals(chance, level * a_second))
            levels[level] = windows(
                [each for each in looks if each.at >= looks[0].at + _BEFORE_SECONDS], WINDOW_SECONDS
            )
            for at, seen, *_ in looks:
                line = slowdown.observe(line, {"vllm": (at, seen)}, 1 / estimate.prefill_tokens_per_s, estimate, at)
            loads.append(os.getloadavg()[0])
            sys.stderr.write(f"level {level:.0%}: {len(levels[level])} windows, load {loads[-1]:.2f}\n")
        after, _ = await _full(asked, crowd)
    known = {"measured": estimate, "planner's": Estimate(PREFILL_CPU, DECODE_CPU, sequences=SEQUENCES)}
    alone = engine.decode(1, 0, 1), engine.decode(engine.sequences, 0, 1)
    return Found(dict(sorted(levels.items())), (before, after), line, known, tuple(loads), alone)


def _estimate(engine: EngineModel) -> Estimate:
    """Return what a full engine does, by its single steps: all places share the fixed cost of each."""
    token = engine.fixed / engine.sequences + engine.per_sequence
    return Estimate(1 / engine.per_prefill_token, 1 / token, sequences=engine.sequences)


def _arrivals(chance: random.Random, a_second: float) -> tuple[Request, ...]:
    at, found = chance.expovariate(a_second), []
    while at < _LEVEL_SECONDS:
        found.append(_request(chance, at))
        at += chance.expovariate(a_second)
    return tuple(found)


def _request(chance: random.Random, at: float) -> Request:
    return Request(at, chance.randint(*_PROMPTS), chance.randint(*_ANSWERS))


async def _full(asked: Asked, crowd: tuple[Request, ...]) -> tuple[Point, float]:
    """Return what the engine does while requests wait, and how many requests a second that is."""
    looks = await _watched(asked, crowd, every=LOOK_SECONDS / 4)
    queued = [look for look in looks if look.engine.waiting]
    point = between(queued[1:])  # by then it computes as many as it can
    tokens = statistics.fmean(request.output_tokens for request in crowd)
    return point, point.generated / tokens


async def _watched(asked: Asked, trace: Sequence[Request], every: float = LOOK_SECONDS) -> list[Seen]:
    """Send requests, and look at the engine meanwhile."""
    looks: list[Seen] = []

    async def watch() -> None:
        while True:
            at, text = await asked.metrics()
            if look := read(text):
                looks.append(Seen(at, EngineSignals(
                    look.waiting, look.running, look.kv_usage, look.prompt_tokens, look.generated_tokens
                ), *between_tokens(text)))  # fmt: skip
            await asyncio.sleep(every)

    watching = asyncio.create_task(watch())
    try:
        await asked.play(tuple(trace))
    finally:
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching
    return looks
