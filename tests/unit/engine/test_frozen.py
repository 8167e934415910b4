"""Telling a stopped process from a busy one and from a launcher that slept: looks at real processes, pure verdicts."""

import asyncio
import sys

import psutil
import pytest

from manta_runtime.engine import frozen
from manta_runtime.engine.frozen import FROZEN_SECONDS, Seen, Watch, after_look, describe_frozen, look

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
        assert not look({}).stopped, "what is no part of the engine ends nothing"
        psutil.Process(held.pid).resume()
        async with asyncio.timeout(60):
            while look({held.pid: "vLLM's API server"}).stopped:  # noqa: ASYNC110 - likewise
                await asyncio.sleep(0.02)
    finally:
        for process in (busy, held):
            process.kill()
            await process.wait()


async def test_which_process_ended_first_is_told(monkeypatch):
    monkeypatch.setattr(frozen, "_LOOK_SECONDS", 0.05)
    server, core = [await asyncio.create_subprocess_exec(sys.executable, "-I", "-c", IDLE) for _ in range(2)]
    monkeypatch.setattr(frozen, "_role", lambda process: "VLLM::EngineCore" if process.pid == core.pid else "")
    watch, looks = Watch(), []

    def known():
        looks.append(1)
        return {server.pid: "vLLM's API server"}

    async def looked():
        """Wait for the end of a look that began after now."""
        before = len(looks)
        async with asyncio.timeout(60):
            while len(looks) < before + 2:  # noqa: ASYNC110 - the watch has no events
                await asyncio.sleep(0.02)

    task = asyncio.create_task(watch.run(known))
    try:
        assert watch.words() == ""
        await looked()
        core.kill()
        async with asyncio.timeout(60):
            while not watch.gone:  # noqa: ASYNC110 - the kernel has no events
                await asyncio.sleep(0.02)
        assert watch.words() == f"; before that VLLM::EngineCore (process {core.pid}) had ended"
        assert watch.words(["gcs_server ended with -9"]) == "; before that gcs_server ended with -9"
        server.kill()
        await server.wait()
        await looked()
        assert len(watch.gone) == 1
    finally:
        task.cancel()
        for process in (server, core):
            if process.returncode is None:
                process.kill()
            await process.wait()


async def test_of_those_gone_at_once_the_oldest_is_told_first(monkeypatch):
    monkeypatch.setattr(frozen, "_LOOK_SECONDS", 0.0)
    roles = {(9, 3.0): "ray::RayWorkerProc.run", (12, 2.0): "VLLM::EngineCore", (3, 1.0): "raylet"}
    looks = [Seen(roles, {}), Seen({(3, 1.0): "raylet"}, {})]
    monkeypatch.setattr(frozen, "look", lambda _: looks.pop(0))
    watch = Watch()
    with pytest.raises(IndexError):
        await watch.run(dict)
    assert watch.words() == (
        "; before that VLLM::EngineCore (process 12), ray::RayWorkerProc.run (process 9) had ended"
    )
