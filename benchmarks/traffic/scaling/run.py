"""One scenario: a load that changes on a deployment that scales itself, until it is small again. Effects."""

import asyncio
import secrets
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from traffic.api import Object
from traffic.load import Load
from traffic.request import Outcome
from traffic.scaling import world as slow
from traffic.scaling.report import Row, Run, row
from traffic.scaling.shapes import Shape
from traffic.scaling.timeline import Moment
from traffic.scaling.watch import Watch
from traffic.world import NAME, World, box

DOWN_SECONDS = 240.0
"""How long it may take until a deployment is as small as its load again; the window and the drains are in it."""
ANSWERS_SECONDS = 240.0


@dataclass
class Scene:
    """A box with the deployment, what is seen of it, and the folder of its logs."""

    world: World
    watch: Watch
    url: str

    async def until(self, what: str, holds: Callable[[Moment], bool], seconds: float = DOWN_SECONDS) -> float:
        """Wait for a moment of which `holds`, and return its time. Raises Stuck."""

        async def condition() -> bool:
            return holds(self.watch.now)

        await self.world.until(f"{what}; now {self.watch.now}", condition, seconds)
        return self.watch.now.at


Meanwhile = Callable[[Scene], Coroutine[object, object, None]]


@asynccontextmanager
async def scene(folder: Path, autoscaling: Object, replicas: int = 1, **more: Object) -> AsyncIterator[Scene]:
    """Run a box with a deployment that scales itself as `autoscaling` says, from `replicas` on. Raises Stuck."""
    changes = slow.changes(str(folder / "journal"), autoscaling, **more)
    async with box(folder, replicas, changes) as world, Watch(world) as watch:
        found = Scene(world, watch, await world.url())
        await found.until("it is seen to serve", lambda now: now.ready == now.groups == replicas)
        yield found


async def follow(scene: Scene, shape: Shape, meanwhile: Meanwhile | None = None) -> Row:
    """Run a load of that shape, then its last rate until the replicas are few again. Raises Stuck.

    `meanwhile` is done once, while the load runs.
    """
    began, run = time.monotonic(), secrets.token_hex(4)

    def rate() -> float:
        return shape.rate(time.monotonic() - began)

    async with Load(scene.url, NAME, rate, run, slow.TIMEOUT_SECONDS) as load, asyncio.TaskGroup() as tasks:
        if meanwhile:
            tasks.create_task(meanwhile(scene))
        await asyncio.sleep(shape.seconds)
        await scene.until(f"{shape.name}: {shape.end} replicas", lambda now: now.groups == now.pods == shape.end)
        await load.finish(ANSWERS_SECONDS)
        if load.problem:
            raise load.problem
        unanswered = load.open
    return done(scene, Run(shape.name, began, shape, unanswered), load.outcomes)


def done(scene: Scene, run: Run, outcomes: Sequence[Outcome]) -> Row:
    """Return the row of a scenario that has ended."""
    executed = Counter(scene.world.journal.read_text().split()) if scene.world.journal.exists() else Counter()
    return row(run, outcomes, executed, scene.watch.moments, time.monotonic())
