"""Start a group whose pods come in random order, with mishaps if asked for, until it has served a token. Effects."""

import asyncio
import random
import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import aiohttp
from traffic.world import Stuck

from faults.pods import CONTROL_PORT, PORT, Group, Recipe
from faults.processes import alive, describe

Mishap = Literal["", "worker dies", "head restarts"]
_LOOK = aiohttp.ClientTimeout(total=5)
_TOKEN = aiohttp.ClientTimeout(total=60)
_LOOK_SECONDS = 0.2


@dataclass(frozen=True)
class Plan:
    """When each rank's pod starts, in seconds, and what goes wrong meanwhile."""

    delays: tuple[float, ...]
    mishap: Mishap = ""


@dataclass(frozen=True)
class Start:
    """One start. `seconds`: from the latest pod's start to the token, None if none came. `launchers`: per rank."""

    plan: Plan
    seconds: float | None
    launchers: tuple[int, ...]
    problem: str = ""
    left: tuple[str, ...] = ()

    def row(self) -> dict[str, object]:
        """Return it for the report."""
        return asdict(self) | {"seconds": None if self.seconds is None else round(self.seconds, 1)}


def draw(chance: random.Random, count: int, most: float, mishaps: Sequence[Mishap] = ("",)) -> list[Plan]:
    """Return `count` plans of two pods with delays of up to `most` seconds; mishaps come in turn."""
    delays = [tuple(round(chance.uniform(0, most), 2) for _ in range(2)) for _ in range(count)]
    return [Plan(each, mishaps[number % len(mishaps)]) for number, each in enumerate(delays)]


async def start(folder: Path, recipe: Recipe, plan: Plan) -> Start:
    """Start a group by plan, ask it for a token, and end it. The folder is removed unless something was wrong."""
    group = Group(folder, recipe, len(plan.delays))
    problem, seconds = "", None
    for pod, delay in zip(group.pods, plan.delays, strict=True):
        pod.start(delay)
    try:
        async with asyncio.timeout(max(plan.delays) + recipe.startup_seconds):
            async with aiohttp.ClientSession() as session:
                await _mishap(session, group, plan)
                await _until_ready(session, group)
                await _ask(session, group)
        seconds = time.monotonic() - max(pod.started for pod in group.pods)
    except (TimeoutError, Stuck, aiohttp.ClientError) as error:
        problem = f"{type(error).__name__} {error}: {_last_words(group)}"
    processes = [process for pod in group.pods for process in pod.processes()]
    launchers = tuple(pod.starts for pod in group.pods)
    await group.stop()
    left = tuple(describe(process) for process in alive(processes))
    if not problem:
        shutil.rmtree(folder, ignore_errors=True)
    return Start(plan, seconds, launchers, problem, left)


async def _mishap(session: aiohttp.ClientSession, group: Group, plan: Plan) -> None:
    """Kill a launcher while the group forms: the worker's once it has come up, the head's while its worker waits."""
    if not plan.mishap:
        return
    victim = group.pods[1 if plan.mishap == "worker dies" else 0]
    for pod in group.pods if plan.mishap == "head restarts" else [victim]:
        await _until_answers(session, pod.address)
    victim.kill_launcher()


async def _until_answers(session: aiohttp.ClientSession, address: str) -> None:
    while True:
        if await _status(session, f"http://{address}:{CONTROL_PORT}/healthz") is not None:
            return
        await asyncio.sleep(_LOOK_SECONDS / 4)


async def _until_ready(session: aiohttp.ClientSession, group: Group) -> None:
    while True:
        asked = [_status(session, f"http://{pod.address}:{CONTROL_PORT}/readyz") for pod in group.pods]
        if set(await asyncio.gather(*asked)) == {200}:
            return
        await asyncio.sleep(_LOOK_SECONDS)


async def _ask(session: aiohttp.ClientSession, group: Group) -> None:
    body = {"model": "tiny", "prompt": "Hello", "max_tokens": 1, "temperature": 0}
    url = f"http://{group.pods[0].address}:{PORT}/v1/completions"
    async with session.post(url, json=body, timeout=_TOKEN) as response:
        if response.status != 200 or (await response.json())["usage"]["completion_tokens"] != 1:
            raise Stuck(f"ready, but asked for a token it said {response.status}: {(await response.text())[:200]}")


async def _status(session: aiohttp.ClientSession, url: str) -> int | None:
    try:
        async with session.get(url, timeout=_LOOK) as response:
            return response.status
    except (aiohttp.ClientError, TimeoutError):
        return None


def _last_words(group: Group) -> str:
    words = []
    for pod in group.pods:
        lines = pod.log.read_text(errors="replace").splitlines() if pod.log.exists() else []
        words.append(f"rank {pod.rank} said: {lines[-1] if lines else 'nothing'}")
    return "; ".join(words)
