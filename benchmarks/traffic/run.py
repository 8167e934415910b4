"""One run: a box, a load, and one change after the other."""

import asyncio
import secrets
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from traffic.changes import Change
from traffic.load import Load
from traffic.report import Phase, between, summarize
from traffic.world import NAME, World, box

QUIET_SECONDS = 4.0
AFTER_SECONDS = 2.0


async def run(
    folder: Path, changes: Sequence[Change], rate: float, say: Callable[[str], None], quiet: float = QUIET_SECONDS
) -> list[dict[str, Any]]:
    """Make the changes under `rate` requests a second, each after `quiet` seconds without one. Raises Stuck.

    Returns a row of the report for each, and a last one for the time between them.
    """
    phases = []
    async with box(folder) as world, Load(await world.url(), NAME, rate, secrets.token_hex(4)) as load:
        for change in changes:
            quiet_from = time.monotonic()
            await asyncio.sleep(quiet)
            say(f"{change.name} ...")
            phases.append(await _make(change, world, load, quiet_from))
        await load.finish()
        if load.problem:
            raise load.problem
        executed = Counter(world.journal.read_text().split())
    return [*(summarize(phase, load.outcomes, executed) for phase in phases), between(phases, load.outcomes, executed)]


async def _make(change: Change, world: World, load: Load, quiet_from: float) -> Phase:
    began = time.monotonic()
    await change.make(world)
    # What a change does may show late: in connections that are kept, in requests that are long.
    await asyncio.sleep(AFTER_SECONDS)
    ended = time.monotonic()
    await load.quiet(ended)
    return Phase(change.name, change.excuse, quiet_from, began, ended)
