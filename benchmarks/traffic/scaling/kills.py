"""The operator is killed (-9) in the middle: while it grows, while it shrinks, at zero while requests wait. Effects."""

import time

from traffic.scaling.meanwhile import GROWS_SECONDS, grown
from traffic.scaling.report import Row, Run
from traffic.scaling.run import Scene, done
from traffic.scaling.timeline import Moment
from traffic.scaling.zero import IDLE_SECONDS, send_all

AT_ZERO = 20


async def _kill(scene: Scene) -> None:
    scene.world.process("-m manta_operator.cli operator ").kill()


async def growing(scene: Scene) -> None:
    """Kill it when new replicas are asked for, and none of them is ready."""
    before = scene.watch.now.groups
    await scene.until("it grows", lambda now: now.groups > before and now.ready < now.groups, GROWS_SECONDS)
    await _kill(scene)


async def shrinking(scene: Scene) -> None:
    """Kill it when it has grown, and takes the first replica away."""
    await grown(scene)
    most = scene.watch.now.groups

    def shrinks(now: Moment) -> bool:
        nonlocal most
        most = max(most, now.groups)
        return now.groups < most

    await scene.until("it shrinks", shrinks)
    await _kill(scene)


async def at_zero(scene: Scene) -> Row:
    """Kill it at zero, send requests before it is back, and see all of them answered. Raises Stuck."""
    await scene.until("zero replicas", lambda now: now.groups == now.pods == 0, IDLE_SECONDS)
    began = time.monotonic()
    await _kill(scene)
    outcomes = await send_all(scene, AT_ZERO, tokens=4, stream=True)
    return done(scene, Run("operator killed at zero", began), outcomes)
