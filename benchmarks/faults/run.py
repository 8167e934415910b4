"""A run: for each shape a deployment under load, and one fault after the other. Effects."""

import asyncio
import time
from collections.abc import Callable, Sequence
from itertools import groupby
from pathlib import Path

import psutil
from traffic.world import Stuck

from faults.catalogue import Fault
from faults.load import Load
from faults.processes import alive, below, describe
from faults.trial import Result, attempt
from faults.world import World, box

Tell = Callable[[Result], None]
_PORT = 8000
_QUIET_SECONDS = 3.0


async def run(
    folder: Path, faults: Sequence[Fault], rate: float, seconds: float, tell: Tell, *, simulated: bool = False
) -> list[str]:
    """Make the faults under `rate` requests a second; each may take `seconds` until all is well again.

    `simulated`: without vLLM and Ray, so that there are none of their processes to break. `tell` gets every result.
    Returns what else went wrong: losses between faults, processes that outlive the box. Raises Stuck when no deployment
    comes up.
    """
    problems: list[str] = []
    async with box(folder, simulated=simulated) as world:
        for shape, befalling in groupby(faults, key=lambda fault: fault.shape):
            await world.deploy(shape)
            problems += await _under_load(world, list(befalling), rate, seconds, tell)
            living = below(world.box)
            await world.delete()
        living += below(world.box)
    return problems + _left(living)


async def _under_load(world: World, faults: Sequence[Fault], rate: float, seconds: float, tell: Tell) -> list[str]:
    url = f"http://{await world.router()}:{_PORT}/v1/chat/completions"
    results: list[Result] = []
    async with Load(url, world.name, rate) as load:
        for fault in faults:
            await asyncio.sleep(_QUIET_SECONDS)
            try:
                await world.until("all is well before the next fault", world.is_well, seconds)
            except Stuck as error:
                return [f"gave up before {fault.name}: {error}"]
            results.append(await attempt(world, load, fault, seconds))
            tell(results[-1])
        await load.settle(time.monotonic())
    counted = {each.number for result in results for each in result.requests}
    lost = [each for each in load.requests if each.ended and each.fate != "ok" and each.number not in counted]
    return [f"{len(lost)} requests were lost between faults: {lost[0].detail}"] if lost else []


def _left(living: Sequence[psutil.Process]) -> list[str]:
    left = alive(living)
    return [f"the box has ended and left {describe(process)}" for process in left]
