"""What a launcher does of an engine that hangs, is deaf, or has been stopped; a stand-in for vLLM, real processes."""

import asyncio
import time

import psutil
import pytest

from manta_runtime.engine import frozen, progress
from manta_runtime.engine.failure import FROZEN, HUNG, EngineFailure
from manta_runtime.engine.vllm_client import VllmClient

pytestmark = pytest.mark.integration


async def test_a_hanging_engine_is_not_ready_until_it_goes_on(start):
    pod = start()
    await pod.until_ready()
    await pod.engine("hang/1")
    await pod.engine("busy/1")
    await pod.until(503, "1 unanswered request and has made no progress")
    await pod.engine("busy/0")
    await asyncio.sleep(0.2)
    assert (await pod.readyz())[0] == 503, "clients that gave up are no progress"
    await pod.engine("hang/0")
    await pod.until_ready()
    assert pod.journal.stalls == 1


async def test_an_engine_that_cannot_be_watched_is_never_ready(start, monkeypatch):
    asked = asyncio.Event()

    async def look(_client):
        await asked.wait()
        return {}

    monkeypatch.setattr(VllmClient, "look", look)
    pod = start()
    await pod.until(503, "nobody has looked at vLLM's progress yet")
    asked.set()
    await pod.until(503, "leave --disable-log-stats out")


async def test_an_engine_that_hangs_for_too_long_ends_the_pod(start):
    pod = start(hang_seconds=0.6)
    await pod.until_ready()
    await pod.engine("hang/1")
    await pod.engine("busy/2")
    with pytest.raises(EngineFailure, match=r"2 unanswered requests .* no progress for 1 s: it hangs") as failure:
        await pod.task
    assert failure.value.code == HUNG
    assert "spec.engine.hangSeconds is 1" in str(failure.value)


async def test_an_engine_that_hangs_while_idle_is_found_out(start, monkeypatch):
    monkeypatch.setattr(progress, "IDLE_SECONDS", 0.3)
    pod = start(hang_seconds=0.6)
    await pod.until_ready()
    await pod.engine("hang/2")
    with pytest.raises(EngineFailure, match=r"unanswered request.* it hangs"):
        await pod.task


async def test_an_http_server_that_answers_nothing_ends_the_pod(start):
    pod = start(hang_seconds=1.0)
    await pod.until_ready()
    await pod.engine("sick/1")
    await pod.until(503, "/health")
    with pytest.raises(EngineFailure, match="/health has not said 200 for 1 s") as failure:
        await pod.task
    assert failure.value.code == HUNG


@pytest.mark.parametrize(
    ("how", "words"),
    [(("sick/1",), "/health has not said 200"), (("hang/1", "busy/1"), "1 unanswered request .* it hangs")],
)
async def test_an_engine_that_hangs_while_its_adapters_are_awaited_ends_the_pod(start, tmp_path, how, words):
    pod = start(hang_seconds=0.6, startup_seconds=120.0, adapters=tmp_path / "no-list-yet.json")
    await pod.until(503, "its adapters are not loaded yet")
    for what in how:
        await pod.engine(what)
    async with asyncio.timeout(60):
        with pytest.raises(EngineFailure, match=words) as failure:
            await pod.task
    assert failure.value.code == HUNG
    assert [each.phase for each in pod.journal.timeline.stretches] == ["start", "adapters", "done"]


async def test_a_long_step_beside_looks_that_fail_is_no_hang(start):
    pod = start(hang_seconds=0.5)
    await pod.until_ready()
    await pod.engine("busy/1")
    await pod.engine("mute/1")
    await asyncio.sleep(0.8)
    assert not pod.task.done(), "nobody could look at it"
    await pod.engine("mute/0")
    await pod.until_ready()


async def test_an_idle_engine_with_a_request_left_open_proves_itself(start, monkeypatch):
    monkeypatch.setattr(progress, "STALL_SECONDS", 1.2)  # half of it is the token's, on a busy machine too
    pod = start()
    await pod.until_ready()
    looks, began = [], time.monotonic()
    await pod.engine("left/1")
    while time.monotonic() < began + 1.8:
        looks.append((await pod.readyz())[0])
        await asyncio.sleep(0.03)
    assert set(looks) == {200}


async def test_a_stopped_process_ends_the_group(start, monkeypatch):
    monkeypatch.setattr(frozen, "FROZEN_SECONDS", 0.3)
    monkeypatch.setattr(frozen, "_LOOK_SECONDS", 0.1)
    pod = start()
    await pod.until_ready()
    [engine] = [each for each in psutil.Process().children() if "engine.py" in " ".join(each.cmdline())]
    engine.suspend()
    with pytest.raises(EngineFailure, match=r"vLLM's API server \(process \d+\) has been stopped") as failure:
        await pod.task
    assert failure.value.code == FROZEN
    assert not engine.is_running()


async def test_a_process_that_is_stopped_ends_the_drain(start, monkeypatch):
    monkeypatch.setattr(frozen, "FROZEN_SECONDS", 0.3)
    monkeypatch.setattr(frozen, "_LOOK_SECONDS", 0.1)
    pod = start(drain_seconds=600)
    await pod.until_ready()
    await pod.engine("busy/1")
    pod.stop.ask()
    await pod.until_seen_in_flight(1)
    [engine] = [each for each in psutil.Process().children() if "engine.py" in " ".join(each.cmdline())]
    engine.suspend()
    async with asyncio.timeout(60):
        with pytest.raises(EngineFailure, match="has been stopped"):
            await pod.task
    assert pod.journal.cut_off == 1
