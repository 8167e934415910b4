"""The same hour over HTTP: processes of the engine simulator, a router with the same choice, and replicas that change.

Effects: starts `manta-runtime simulate`, sends requests, ends the processes. An hour takes three minutes: engines that
are a twentieth as fast as an H100 are run twenty times as fast, so that a step takes milliseconds and what HTTP and a
busy machine add is small beside it. All times are told in those of the slow engine.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import socket
import sys
import time
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp

from autoscaler_validation.measured import Measured, of, summed
from manta_operator.cli.simulate_trace import read
from manta_operator.scaling.simulation.fleet import Setup
from manta_operator.scaling.simulation.model import EngineModel
from manta_operator.scaling.simulation.outcome import Slo
from manta_operator.scaling.simulation.policies.fixed import Timetable
from manta_operator.scaling.simulation.replica import Job
from manta_operator.scaling.simulation.run import run
from manta_operator.scaling.simulation.scene import make

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from manta_operator.scaling.simulation.trace import Request, Trace

MODEL = EngineModel(speed=0.05, step_tokens=2048, per_pair=0.0)
FASTER = 20.0
SLO = Slo(base=15.0, between=0.5)
_CHANGES, _EVERY = (2, 3, 4, 2, 3, 1), 600.0
_PEAK = 3.0
_READY_SECONDS = 60.0
_LENGTH = 16_384


@dataclass(eq=False)
class Engine:
    """A process, and what the router knows of it: prompt tokens without a first token yet, and answers under way."""

    index: int
    url: str
    todo: int = 0
    running: int = 0
    jobs: set[int] = field(default_factory=set)

    @property
    def load(self) -> float:
        """The least of these is chosen, as in `scaling/simulation/fleet.py`."""
        return self.todo * MODEL.per_prefill_token + self.running * MODEL.fixed


def compare(path: Path, seed: int) -> dict[str, tuple[Measured, Measured]]:
    """Return both runs of an hour of the trace: at a fixed number of replicas, and at one that changes."""
    scene = make(path.name, read(path).trace, MODEL, peak=_PEAK, seed=seed)
    found = {}
    for name, counts in (("fixed", (3,)), ("changing", _CHANGES)):
        setup = Setup(MODEL, cold_start=0.0, initial=counts[0], most=max(counts), queue=1_000_000)
        began = time.monotonic()
        outcome = run(scene.trace, lambda _, counts=counts: Timetable(counts * 20, _EVERY), setup)  # type: ignore[misc]
        ours = of(outcome, SLO, MODEL, time.monotonic() - began)
        theirs = asyncio.run(_Player(counts).play(scene.trace))
        found[f"{path.name.split('.')[0]}, {name}"] = (replace(ours, moments=(), replica_hours=0.0), theirs)
    return found


class _Player:
    """Sends the requests at their time to the engines that serve, of which there are as many as the timetable says."""

    def __init__(self, counts: Sequence[int]) -> None:
        self.counts = counts
        self.serving: list[Engine] = []
        self.fresh: list[Engine] = []
        self.jobs: list[Job] = []
        self.began = 0.0

    async def play(self, trace: Trace) -> Measured:
        """Return what the requests came to."""
        began = time.monotonic()
        turns = [*self.counts] * 20
        last = int(trace[-1].at // _EVERY) + 1
        rises = sum(max(0, b - a) for a, b in itertools.pairwise(turns[: last + 1]))
        async with AsyncExitStack() as stack:
            starts = [stack.enter_async_context(_engine(index)) for index in range(self.counts[0] + rises)]
            self.fresh = [await start for start in starts]
            client = await stack.enter_async_context(
                aiohttp.ClientSession(
                    connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=2),
                    timeout=aiohttp.ClientTimeout(total=None),
                )
            )
            self.began = time.monotonic()
            await self._send_all(trace, turns, client)
        rows = [(job.request.at, job.first, job.ended, job.request.output_tokens) for job in self.jobs]
        in_time = sum(SLO.met(job, MODEL) for job in self.jobs) / len(self.jobs)
        return summed(rows, in_time, took=time.monotonic() - began)

    def _now(self) -> float:
        return (time.monotonic() - self.began) * FASTER

    async def _send_all(self, trace: Trace, turns: Sequence[int], client: aiohttp.ClientSession) -> None:
        async with asyncio.TaskGroup() as group:
            for request in trace:
                await asyncio.sleep(max(0.0, (request.at - self._now()) / FASTER))
                self._ask(turns[int(request.at // _EVERY)])
                group.create_task(self._send(request, client))

    def _ask(self, wanted: int) -> None:
        while len(self.serving) < wanted:
            self.serving.append(self.fresh.pop(0))
        while len(self.serving) > wanted:
            self.serving.remove(min(self.serving, key=lambda each: (len(each.jobs), -each.index)))

    async def _send(self, request: Request, client: aiohttp.ClientSession) -> None:
        job, engine = Job(request, len(self.jobs)), min(self.serving, key=lambda each: each.load)
        self.jobs.append(job)
        engine.jobs.add(job.order)
        engine.todo += request.prompt_tokens
        body = {"model": "m", "prompt": "four" * request.prompt_tokens, "max_tokens": request.output_tokens,
                "ignore_eos": True, "stream": True}  # fmt: skip
        async with client.post(f"{engine.url}/v1/completions", json=body) as answer:
            answer.raise_for_status()
            async for line in answer.content:
                if job.first < 0 and line.startswith(b"data:"):
                    job.first = self._now()
                    engine.todo -= request.prompt_tokens
                    engine.running += 1
                    json.loads(line[5:])
        job.ended = self._now()
        engine.running -= 1
        engine.jobs.discard(job.order)


@asynccontextmanager
async def _engine(index: int) -> AsyncIterator[Engine]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = await asyncio.create_subprocess_exec(
        Path(sys.executable).parent / "manta-runtime", "simulate", "--model=m", f"--port={port}",
        f"--simulate-speed={MODEL.speed * FASTER}", f"--simulate-kv-cache-tokens={MODEL.kv_tokens}",
        f"--max-model-len={_LENGTH}", f"--max-num-batched-tokens={MODEL.step_tokens}", "--no-enable-prefix-caching",
        f"--max-num-seqs={MODEL.sequences}", f"--seed={index}",
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        await _ready(f"http://127.0.0.1:{port}")
        yield Engine(index, f"http://127.0.0.1:{port}")
    finally:
        process.terminate()
        await process.wait()


async def _ready(url: str) -> None:
    """Wait until it answers. Raises TimeoutError."""
    async with asyncio.timeout(_READY_SECONDS), aiohttp.ClientSession() as client:
        while True:
            try:
                async with client.get(f"{url}/health") as answer:
                    if answer.ok:
                        return
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.1)
