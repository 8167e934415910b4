"""One cold start, bare or under the launcher, from the first process to the first token; both with the same flags."""

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import psutil

from manta_runtime.engine.commands import engine_environment, vllm_command
from manta_runtime.engine.settings import EngineSettings

HOST = "127.1.78.1"
PORT, CONTROL_PORT = 8000, 8001
_LOOK_SECONDS = 0.05
_LONGEST_SECONDS = 300.0
_END_SECONDS = 30.0
_LOOK = aiohttp.ClientTimeout(total=5)
_TOKEN = aiohttp.ClientTimeout(total=60)


@dataclass(frozen=True)
class Started:
    """One start to its first token: when, seconds, CPU seconds of all processes and of the first, GET /status."""

    begun: float
    seconds: float
    cpu: float
    first_cpu: float
    status: dict[str, Any] = field(default_factory=dict)


def settings_for(model: Path, flags: tuple[str, ...]) -> EngineSettings:
    """The recipe for tests: one process group, one core, no compiling unless `flags` say otherwise."""
    return EngineSettings(
        rank=0,
        group_size=1,
        pod_ip=HOST,
        pod_name="coldstart-0",
        head="",
        port=PORT,
        control_port=CONTROL_PORT,
        executor="uni",
        accelerator="cpu",
        accelerators_per_pod=1,
        startup_seconds=_LONGEST_SECONDS,
        drain_seconds=10,
        scratch=Path(tempfile.gettempdir()),
        vllm_flags=(f"--model={model}", "--served-model-name=tiny", *flags),
    )


async def start_bare(settings: EngineSettings, log: Path) -> Started:
    """Start vLLM as the launcher would, but without it, and end it. Raises RuntimeError if no token comes."""
    environment = engine_environment(settings, os.environ)
    return await _start(vllm_command(settings), environment, log, _token)


async def start_launcher(settings: EngineSettings, log: Path) -> Started:
    """Start the launcher and end it: its readiness says that a token came. Raises RuntimeError if none comes."""
    command = [
        *(sys.executable, "-m", "manta_runtime.main", "engine"),
        *("--rank=0", f"--pod-ip={HOST}", f"--port={PORT}", f"--control-port={CONTROL_PORT}"),
        *("--executor=uni", "--accelerator=cpu", "--drain-seconds=10", "--"),
        *settings.vllm_flags,
    ]
    environment = {**os.environ, "MANTA_LOG": "json", "POD_NAME": settings.pod_name}
    return await _start(command, environment, log, _ready)


async def _start(command: list[str], environment: dict[str, str], log: Path, ask: Callable[..., Any]) -> Started:
    wall, begun = time.time(), time.monotonic()
    process = _spawn(command, environment, log)
    try:
        async with aiohttp.ClientSession() as session:
            while (answer := await ask(session)) is None:
                if process.poll() is not None or time.monotonic() - begun > _LONGEST_SECONDS:
                    raise RuntimeError(f"no token came; see {log}")
                await asyncio.sleep(_LOOK_SECONDS)
        seconds = time.monotonic() - begun
        return Started(wall, seconds, *_cpu_of(psutil.Process(process.pid)), answer)
    finally:
        _end(process)


def _spawn(command: list[str], environment: dict[str, str], log: Path) -> subprocess.Popen[bytes]:
    with log.open("wb") as output:
        # A session of its own, as the launcher gives to its vLLM: Linux shares the CPU out by sessions, and on a busy
        # machine who stays in ours gets half as much (measured: 55 s instead of 23 s).
        return subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )


async def _token(session: aiohttp.ClientSession) -> dict[str, Any] | None:
    body = {"model": "tiny", "prompt": "Hello", "max_tokens": 1, "temperature": 0}
    with suppress(aiohttp.ClientError, TimeoutError):
        async with session.get(f"http://{HOST}:{PORT}/health", timeout=_LOOK) as response:
            if response.status != 200:
                return None
        async with session.post(f"http://{HOST}:{PORT}/v1/completions", json=body, timeout=_TOKEN) as response:
            return {} if response.status == 200 else None
    return None


async def _ready(session: aiohttp.ClientSession) -> dict[str, Any] | None:
    with suppress(aiohttp.ClientError, TimeoutError):
        async with session.get(f"http://{HOST}:{CONTROL_PORT}/readyz", timeout=_LOOK) as response:
            if response.status != 200:
                return None
        async with session.get(f"http://{HOST}:{CONTROL_PORT}/status", timeout=_LOOK) as response:
            return dict(await response.json())
    return None


def _cpu_of(first: psutil.Process) -> tuple[float, float]:
    """CPU seconds of a process with all below it, ended ones too, and of itself alone."""
    every = 0.0
    for each in (first, *first.children(recursive=True)):
        with suppress(psutil.Error):
            every += sum(each.cpu_times()[:4])  # user, system, and those of children that have been waited for
    return every, sum(first.cpu_times()[:2])


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ask it to end, and leave nothing of it behind."""
    tree: list[psutil.Process] = []
    with suppress(psutil.Error):
        tree = psutil.Process(process.pid).children(recursive=True)
    process.terminate()
    try:
        process.wait(_END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for each in tree:
        with suppress(psutil.Error):
            each.kill()
