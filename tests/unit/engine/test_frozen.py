"""Telling a stopped process from a busy one and from a launcher that slept: looks at real processes, pure verdicts."""

import asyncio
import sys

import psutil
import pytest

from manta_runtime.engine import frozen
from manta_runtime.engine.frozen import FROZEN_SECONDS, Watch, after_look, describe_frozen, look

IDLE = "import time; time.sleep(600)"
RAYLET, RANK = (70, 1.0), (71, 2.0)


def after(*looks):
    stopped = None
    for now, names in looks:
        stopped = after_look(stopped, names, now)
    return stopped


ONE = {RAYLET: "raylet"}
STEADY = [(now, ONE) for now in range(0, int(FROZEN_SECONDS) + 1, 2)]


@pytest.mark.parametrize(
    ("looks", "words"),
    [
        pytest.param([(0, {}), (2, {})], "", id="all run"),
        pytest.param(STEADY[:-1], "", id="stopped for a little"),
        pytest.param(STEADY, "raylet (process 70) has been stopped for 10 s (SIGSTOP)", id="stopped for long"),
        pytest.param([*STEADY[:3], (6, {}), (8, ONE), (10, ONE), (12, ONE)], "", id="went on in between"),
        pytest.param([(0, ONE), (500, ONE), (502, ONE)], "", id="we were stopped, too"),
        pytest.param([(0, ONE), *((500 + now, ONE) for now in range(0, 11, 2))], "raylet", id="and it was not woken"),
        pytest.param([(0, ONE), *((now, {(70, 9.0): "other"}) for now in range(2, 11, 2))], "", id="another process"),
        pytest.param(
            [(now, {**ONE, RANK: "ray::Rank"}) for now in range(0, 11, 2)],
            "raylet (process 70), ray::Rank (process 71) have been stopped",
            id="two",
        ),
    ],
)
def test_who_is_frozen(looks, words):
    found = describe_frozen(after(*looks))
    assert words in found
    assert bool(found) is bool(words)


async def test_only_stopped_processes_below_this_one_are_found():
    busy, held = [
        await asyncio.create_subprocess_exec(sys.executable, "-I", "-c", code) for code in ("while True: pass", IDLE)
    ]
    try:
        psutil.Process(held.pid).suspend()
        async with asyncio.timeout(60):
            while not (found := look({held.pid: "vLLM's API server"}).stopped):  # noqa: ASYNC110 - the kernel has no events
                await asyncio.sleep(0.02)
        [((pid, created), name)] = found.items()
        assert (pid, created, name) == (held.pid, psutil.Process(held.pid).create_time(), "vLLM's API server")
        assert "python" in next(iter(look({}).stopped.values()))
        psutil.Process(held.pid).resume()
        async with asyncio.timeout(60):
            while look({}).stopped:  # noqa: ASYNC110 - likewise
                await asyncio.sleep(0.02)
    finally:
        for process in (busy, held):
            process.kill()
            await process.wait()


async def test_which_process_ended_first_is_told(monkeypatch):
    monkeypatch.setattr(frozen, "_LOOK_SECONDS", 0.05)
    server, core = [await asyncio.create_subprocess_exec(sys.executable, "-I", "-c", IDLE) for _ in range(2)]
    monkeypatch.setattr(frozen, "_role", lambda process: "VLLM::EngineCore" if process.pid == core.pid else "")
    watch = Watch()
    task = asyncio.create_task(watch.run(lambda: {server.pid: "vLLM's API server"}))
    try:
        assert watch.words() == ""
        await asyncio.sleep(0.3)  # a look that has seen both
        core.kill()
        async with asyncio.timeout(60):
            while not watch.gone:  # noqa: ASYNC110 - the kernel has no events
                await asyncio.sleep(0.02)
        assert watch.words() == f"; before that VLLM::EngineCore (process {core.pid}) had ended"
        assert watch.words(["gcs_server ended with -9"]) == "; before that gcs_server ended with -9"
        server.kill()
        await server.wait()
        await asyncio.sleep(0.3)
        assert len(watch.gone) == 1
    finally:
        task.cancel()
        for process in (server, core):
            if process.returncode is None:
                process.kill()
            await process.wait()
