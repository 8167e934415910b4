"""Zero: the deployment goes away when nobody asks, and comes back for one request, or for five hundred. Effects."""

import asyncio
import secrets
import time

import aiohttp

from traffic.api import Object
from traffic.request import Outcome, Request, send
from traffic.scaling import world as slow
from traffic.scaling.report import Row, Run
from traffic.scaling.run import Scene, done
from traffic.world import NAME

IDLE_SECONDS = 180.0
START_SECONDS = 120.0
_TIMEOUT = aiohttp.ClientTimeout(total=slow.TIMEOUT_SECONDS, sock_connect=30)


async def wake(scene: Scene) -> Row:
    """Wait for zero, send one streamed request, and see it answered. Raises Stuck."""
    await scene.until("zero replicas", lambda now: now.groups == now.pods == 0, IDLE_SECONDS)
    began = time.monotonic()
    [outcome] = await send_all(scene, 1, tokens=8, stream=True)
    found = done(scene, Run("wake", began), [outcome])
    return found | _wake(scene, began, outcome.first)


async def burst(scene: Scene, count: int = 500) -> Row:
    """Wait for zero, send `count` requests at once, and see each answered or refused. Raises Stuck."""
    await scene.until("zero replicas", lambda now: now.groups == now.pods == 0, IDLE_SECONDS)
    began = time.monotonic()
    outcomes = await send_all(scene, count, tokens=2, stream=False)
    refused = sorted(each.took for each in outcomes if each.refused)
    found = done(scene, Run(f"burst of {count}", began), outcomes)
    slowest = {"slowest_refusal_s": round(refused[-1], 2) if refused else None}
    return found | _wake(scene, began, None) | slowest


def _wake(scene: Scene, began: float, first: float | None) -> Row:
    """Times of a wake-up: request to StatefulSet; request to first token, less what the pod shows of its start."""
    made = min((at for at in scene.watch.made_at.values() if at >= began), default=None)
    ready = min((at for at in scene.watch.ready_at.values() if at >= began), default=None)
    started = min((at for at in scene.watch.started_at.values() if at >= began), default=None)
    found: Row = {"wake_s": None if made is None else round(made - began, 2)}
    if first is not None and ready is not None and started is not None:
        found["first_token_s"] = round(first, 2)
        found["start_s"] = round(ready - started, 2)
        found["first_token_beyond_start_s"] = round(first - (ready - started), 2)
    return found


async def send_all(scene: Scene, count: int, *, tokens: int, stream: bool) -> list[Outcome]:
    """Send that many requests at once, each over a connection of its own, and return what became of them."""
    run = secrets.token_hex(4)
    connector = aiohttp.TCPConnector(limit=0, force_close=True)
    async with aiohttp.ClientSession(connector=connector) as session:
        requests = [Request(f"{run}-{n}", tokens, stream, fresh=True) for n in range(count)]
        sent = (send(session, scene.url, NAME, each, _TIMEOUT) for each in requests)
        return list(await asyncio.gather(*sent))


def to_zero(queue_size: int) -> Object:
    """Return the changes of the spec that let it go to zero soon."""
    zero = {"afterSeconds": 10, "holdSeconds": 300}
    return {"autoscaling": {"minReplicas": 0, "scaleToZero": zero}, "router": {"hold": {"queueSize": queue_size}}}
