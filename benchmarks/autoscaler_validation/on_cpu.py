"""Real vLLM on this CPU: its steps are measured, an engine is made of them, and minutes are replayed on both.

    step(n)   median time between tokens of n requests at once, n = 1, 8, 24         = fixed + per_sequence x n
    first(p)  median time to the first token of a prompt of p tokens, alone          = overhead + prefill(p)
    speed     what the simulation takes for many requests that come at once, over what vLLM takes for the same:
              the mean of before and after, for the machine's other work comes and goes

The server shares cores with its engine, so that a full engine's steps are longer than those of one request: `speed` is
what learning from queues finds in the operator (scaling/capacity.py).

Effects: starts vLLM with the tiny model, sends requests, ends it. The overhead of HTTP, which the simulation has none
of, is added to its times. Everything shares the machine's cores, so that an idle machine is wanted.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import socket
import statistics
import sys
import tempfile
import time
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING

import aiohttp

from autoscaler_validation.measured import Measured, summed
from manta_operator.scaling.simulation.fleet import Setup
from manta_operator.scaling.simulation.model import EngineModel
from manta_operator.scaling.simulation.outcome import Slo
from manta_operator.scaling.simulation.policies.fixed import fixed
from manta_operator.scaling.simulation.replica import Job
from manta_operator.scaling.simulation.run import run
from manta_operator.scaling.simulation.trace import Request, Trace

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

SECONDS, USE = 120.0, 0.35
SLO = Slo(base=2.0, between=0.1)
SEQUENCES, _LENGTH, _STEP_TOKENS, _KV_TOKENS = 32, 1024, 2048, 65_536
_BATCHES, _PROMPTS, _ROUNDS, _TOKENS = (1, 8, 24), (64, 480, 960), 5, 48
_CROWD = 400
_READY_SECONDS = 180.0
_ENVIRON = {
    "HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1", "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "OMP_NUM_THREADS": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind",
}  # fmt: skip


def compare(model: Path, seed: int) -> tuple[dict[str, tuple[Measured, Measured]], dict[str, float]]:
    """Return both runs of two minutes, and the terms of the engine that was measured (s)."""
    return asyncio.run(_compare(model, seed))


async def _compare(model: Path, seed: int) -> tuple[dict[str, tuple[Measured, Measured]], dict[str, float]]:
    async with started(model, seed) as asked:
        engine, overhead = await steps(asked)
        before = await _speed(asked, engine, seed)
        trace = _trace(replace(engine, speed=before), seed, SECONDS)
        began = time.monotonic()
        jobs = await asked.play(trace)
        took = time.monotonic() - began
        after = await _speed(asked, engine, seed)
    engine = replace(engine, speed=(before + after) / 2)
    setup = Setup(engine, initial=1, most=1, queue=1_000_000)
    began = time.monotonic()
    outcome = run(trace, fixed(1), setup)
    found = [
        _sum([(job, overhead) for job in outcome.jobs], engine, time.monotonic() - began),
        _sum([(job, 0.0) for job in jobs], engine, took),
    ]
    terms = {
        "fixed": engine.fixed,
        "per_sequence": engine.per_sequence,
        "per_prefill_token": engine.per_prefill_token,
        "speed before": before,
        "speed after": after,
        "overhead": overhead,
    }
    return {f"tiny model, {SECONDS:.0f} s": (found[0], found[1])}, terms


def _sum(jobs: list[tuple[Job, float]], engine: EngineModel, took: float) -> Measured:
    rows = [(job.request.at, job.first + more, job.ended + more, job.request.output_tokens) for job, more in jobs]
    return summed(rows, sum(SLO.met(job, engine) for job, _ in jobs) / len(jobs), took=took)


def _trace(engine: EngineModel, seed: int, seconds: float) -> Trace:
    """Return random arrivals that use the engine to USE, and for a sixth of the time beyond what it can do."""
    chance = random.Random(seed)  # noqa: S311 - requests that must be repeatable
    at, found, mean = 0.0, [], engine.work(Request(0.0, 480, 36))
    while at < seconds:
        rush = seconds / 2 <= at < seconds * 2 / 3
        at += chance.expovariate(USE * (2.0 if rush else 0.8) / mean)
        found.append(Request(at, chance.randint(64, 900), chance.randint(8, 64)))
    return tuple(found)


async def _speed(asked: Asked, engine: EngineModel, seed: int) -> float:
    """Return how much of the engine's steps a full one does: the same requests at once, there and in the simulation."""
    every = [replace(request, at=0.0) for request in _trace(engine, seed + 1, SECONDS)[:_CROWD]]
    jobs = await asked.play(tuple(every))
    played = run(tuple(every), fixed(1), Setup(engine, initial=1, most=1, queue=1_000_000))
    return max(job.ended for job in played.jobs) / max(job.ended for job in jobs)


async def steps(asked: Asked) -> tuple[EngineModel, float]:
    """Return the engine as its steps show it, and what HTTP adds (s). The first round only warms it up."""
    times: dict[int, list[float]] = {count: [] for count in _BATCHES}
    firsts: dict[int, list[float]] = {length: [] for length in _PROMPTS}
    for number in range(_ROUNDS + 1):
        for count, seen in times.items():
            jobs = await asyncio.gather(*(asked.send(Request(0.0, 8, _TOKENS)) for _ in range(count)))
            seen.extend((job.ended - job.first) / (_TOKENS - 1) for job in jobs if number)
        for length, waited in firsts.items():
            job = await asked.send(Request(0.0, length, 1))
            waited.extend([job.first - job.request.at] * bool(number))
    step = {count: statistics.median(seen) for count, seen in times.items()}
    first = {length: statistics.median(waited) for length, waited in firsts.items()}
    each = max(0.0, (step[_BATCHES[-1]] - step[_BATCHES[0]]) / (_BATCHES[-1] - _BATCHES[0]))
    token = max(1e-9, (first[_PROMPTS[-1]] - first[_PROMPTS[0]]) / (_PROMPTS[-1] - _PROMPTS[0]))
    engine = EngineModel(
        fixed=max(1e-6, step[_BATCHES[0]] - each),
        per_sequence=each,
        per_prefill_token=token,
        per_pair=0.0,
        per_context_token=0.0,
        kv_tokens=_KV_TOKENS,
        sequences=SEQUENCES,
        step_tokens=_STEP_TOKENS,
    )
    return engine, max(0.0, first[_PROMPTS[0]] - engine.prefill(_PROMPTS[0]))


@asynccontextmanager
async def started(model: Path, seed: int) -> AsyncIterator[Asked]:
    """Start vLLM, and end it; whoever ends this process ends it, too."""
    if task := asyncio.current_task():
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    # The server ends connections that rest for 5 s, whoever just begins to use them.
    connector, patient = aiohttp.TCPConnector(limit=0, keepalive_timeout=2), aiohttp.ClientTimeout(total=None)
    async with _vllm(model) as url, aiohttp.ClientSession(connector=connector, timeout=patient) as client:
        yield Asked(url, client, random.Random(seed))  # noqa: S311 - requests that must be repeatable


class Asked:
    """Sends requests, prompts as tokens drawn by chance; `play` at their times, from when it is called."""

    def __init__(self, url: str, client: aiohttp.ClientSession, chance: random.Random) -> None:
        self._url, self._client, self._chance = url, client, chance
        self._began = time.monotonic()

    async def play(self, trace: Trace) -> list[Job]:
        """Send each when it is due, and wait for all of them."""
        self._began = time.monotonic()
        async with asyncio.TaskGroup() as group:
            tasks = []
            for request in trace:
                await asyncio.sleep(max(0.0, request.at - self._now()))
                tasks.append(group.create_task(self.send(request, due=True)))
        return [task.result() for task in tasks]

    async def send(self, request: Request, *, due: bool = False) -> Job:
        """Send one, now or where it is `due` already, and wait for all its tokens."""
        job = Job(request if due else Request(self._now(), request.prompt_tokens, request.output_tokens))
        prompt = [self._chance.randint(10, 2000) for _ in range(request.prompt_tokens)]
        body = {"model": "tiny", "prompt": prompt, "max_tokens": request.output_tokens, "ignore_eos": True,
                "stream": True, "temperature": 0}  # fmt: skip
        async with self._client.post(f"{self._url}/v1/completions", json=body) as answer:
            answer.raise_for_status()
            async for line in answer.content:
                if job.first < 0 and line.startswith(b"data:"):
                    json.loads(line[5:])
                    job.first = self._now()
        job.ended = self._now()
        return job

    async def metrics(self) -> tuple[float, bytes]:
        """Return when (s of a clock) it was asked, and what the engine says of itself."""
        at = time.monotonic()
        async with self._client.get(f"{self._url}/metrics") as answer:
            return at, await answer.read()

    def _now(self) -> float:
        return time.monotonic() - self._began


@asynccontextmanager
async def _vllm(model: Path) -> AsyncIterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    flags = [
        f"--model={model}", "--served-model-name=tiny", f"--port={port}", "--host=127.0.0.1", "--enforce-eager",
        "--dtype=bfloat16", f"--max-model-len={_LENGTH}", f"--max-num-seqs={SEQUENCES}", "--no-enable-prefix-caching",
        f"--max-num-batched-tokens={_STEP_TOKENS}", "--kv-cache-memory-bytes=64M", "--distributed-executor-backend=uni",
    ]  # fmt: skip
    with tempfile.TemporaryFile() as log:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "vllm.entrypoints.openai.api_server", *flags),
            cwd=tempfile.gettempdir(), env=os.environ | _ENVIRON, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
        try:
            if not await _serves(f"http://127.0.0.1:{port}", process):
                log.seek(0)
                raise RuntimeError(f"vLLM ended before it served: {log.read()[-2000:].decode(errors='replace')}")
            yield f"http://127.0.0.1:{port}"
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()


async def _serves(url: str, process: asyncio.subprocess.Process) -> bool:
    """Wait until it answers; False where it ends instead. Raises TimeoutError."""
    async with asyncio.timeout(_READY_SECONDS), aiohttp.ClientSession() as client:
        while process.returncode is None:
            try:
                async with client.get(f"{url}/health") as answer:
                    if answer.ok:
                        return True
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.2)
    return False
