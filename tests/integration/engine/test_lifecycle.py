"""A launcher's life with a stand-in for vLLM: real processes, real HTTP, no model."""

import asyncio

import pytest

from manta_runtime.engine import drain, head
from manta_runtime.engine.failure import CUT_OFF, GROUP_OVER, EngineFailure
from manta_runtime.engine.processes import Child

pytestmark = pytest.mark.integration


async def test_an_idle_head_drains_and_ends_with_0(start, caplog):
    caplog.set_level("INFO", "manta.engine")
    pod = start()
    await pod.until_ready()
    pod.stop.ask()
    await pod.until(503, "draining")
    assert await pod.task == 0
    assert [each.phase for each in pod.journal.timeline.stretches] == ["start", "ready", "draining", "done"]
    assert (pod.journal.drains, pod.journal.cut_off) == (1, 0)
    assert f"drain over after {pod.journal.drain_seconds:.1f} s, 0 requests cut off" in caplog.messages


async def test_requests_in_flight_hold_the_drain(start):
    pod = start()
    await pod.until_ready()
    await pod.engine("busy/2")
    pod.stop.ask()
    await pod.until(503, "draining")
    # Longer than an idle drain takes: that nothing happens can only be waited out.
    await asyncio.sleep(0.4)
    assert not pod.task.done()
    await pod.engine("busy/0")
    assert await pod.task == 0


async def test_who_still_comes_holds_the_drain(start):
    pod = start()
    await pod.until_ready()
    pod.stop.ask()
    await pod.until(503, "draining")
    for _ in range(20):  # for twice as long as the engine has to be quiet
        await pod.engine("begin")
        await asyncio.sleep(0.02)
    assert not pod.task.done(), "requests too short to be seen in flight kept coming"
    assert await pod.task == 0


async def test_past_the_deadline_the_engine_is_cut_off(start, caplog):
    caplog.set_level("INFO", "manta.engine")
    pod = start(drain_seconds=0.3)
    await pod.until_ready()
    await pod.engine("busy/1")
    pod.stop.ask()
    async with asyncio.timeout(60):
        with pytest.raises(EngineFailure, match="not drained within 0 s, 1 request in flight were cut off") as failure:
            await pod.task
    assert failure.value.code == CUT_OFF
    assert (pod.journal.drains, pod.journal.cut_off) == (1, 1)
    assert pod.journal.drain_seconds >= 0.3
    assert f"drain over after {pod.journal.drain_seconds:.1f} s, 1 requests cut off" in caplog.messages


async def test_a_second_signal_hurries(start):
    pod = start(drain_seconds=600)
    await pod.until_ready()
    await pod.engine("busy/1")
    pod.stop.ask()
    await pod.until(503, "draining")
    pod.stop.ask()
    async with asyncio.timeout(60):
        with pytest.raises(EngineFailure, match="told to stop a second time"):
            await pod.task


async def test_an_engine_that_dies_in_mid_drain_is_told(start):
    pod = start(drain_seconds=60)
    await pod.until_ready()
    await pod.engine("busy/2")
    pod.stop.ask()
    await pod.until_seen_in_flight(2)
    await pod.engine("exit/9")
    with pytest.raises(
        EngineFailure, match="ended by itself while draining, code 9, 2 requests in flight were cut off"
    ):
        await pod.task
    assert pod.journal.cut_off == 2


@pytest.mark.parametrize(
    ("end", "words", "code"),
    [
        ("exit/7", "vLLM ended by itself with code 7", 7),
        ("exit/0", "with code 0, though nobody told it to", 1),
        ("killed/1", "though nobody told it to; before that RayWorkerProc of vLLM's rank 1 ended;", 1),
    ],
    ids=["badly", "well, unasked", "after one of its ranks, as vLLM names it"],
)
async def test_an_engine_that_ends_by_itself_ends_the_pod_and_is_told(start, end, words, code):
    pod = start()
    await pod.until_ready()
    await pod.engine(end)
    with pytest.raises(EngineFailure, match=words) as failure:
        await pod.task
    assert failure.value.code == code


async def test_a_group_that_stays_incomplete_names_who_is_missing(start):
    pod = start(group_size=3, startup_seconds=0.1)
    with pytest.raises(EngineFailure, match=r"missing ranks 1 \(tiny-1\), 2 \(tiny-2\)"):
        await pod.task


async def test_a_head_waits_for_its_ranks_and_ends_when_one_fails(start):
    pod = start(group_size=2)
    await pod.until(503, "ranks [1] have not joined")
    assert await pod.join("waiting") == 200
    assert await pod.join("joined") == 200
    await pod.until_ready()
    assert await pod.join("failed", why="ray ended with code 1: this rank is lost") == 200
    with pytest.raises(EngineFailure, match=r"rank 1 \(tiny-1\) ended: ray ended with code 1") as failure:
        await pod.task
    assert failure.value.code == GROUP_OVER
    phases = [each.phase for each in pod.journal.timeline.stretches]
    assert phases == ["ray", "group", "start", "ready", "done"]


async def test_a_leaving_rank_drains_the_whole_group_and_it_starts_again(start, monkeypatch):
    monkeypatch.setattr(drain, "PROBED_SECONDS", 0.3)
    monkeypatch.setattr(head, "_TELL_SECONDS", 0.1)  # this rank does not ask again
    pod = start(group_size=2)
    await pod.until(503, "have not joined")
    await pod.join("joined")
    await pod.until_ready()
    await pod.join("leaving")
    assert await pod.task == GROUP_OVER


async def test_a_rank_that_is_lost_after_it_began_to_leave_ends_the_drain(start):
    pod = start(group_size=2, drain_seconds=600)
    await pod.until(503, "have not joined")
    await pod.join("joined")
    await pod.until_ready()
    await pod.engine("busy/2")
    await pod.join("leaving")
    await pod.until_seen_in_flight(2)
    await pod.join("failed", why="ray ended with code 1: this rank is lost")
    async with asyncio.timeout(60):
        with pytest.raises(EngineFailure, match=r"rank 1 \(tiny-1\) ended: ray ended with code 1") as failure:
            await pod.task
    assert failure.value.code == GROUP_OVER
    assert (pod.journal.drains, pod.journal.cut_off) == (1, 2)


async def test_workers_are_told_that_the_head_is_being_stopped(start):
    pod = start(group_size=2)
    await pod.until(503, "have not joined")
    await pod.join("joined")
    await pod.until_ready()
    pod.stop.ask()
    async with asyncio.timeout(60):
        while pod.answer["stage"] != "done":
            await pod.join("joined")
    assert pod.answer["over"] == "rank 0 is being stopped"
    assert await pod.task == 0


async def test_workers_are_told_of_the_end_before_the_engine_is_gone(start, monkeypatch):
    gone = asyncio.Event()
    kill = Child.kill

    async def held(child):
        await gone.wait()
        await kill(child)

    monkeypatch.setattr(Child, "kill", held)
    pod = start(group_size=2)
    await pod.until(503, "have not joined")
    await pod.join("joined")
    await pod.until_ready()
    await pod.engine("exit/7")
    async with asyncio.timeout(60):
        while pod.answer["stage"] != "done":
            await pod.join("joined")
    assert not pod.task.done()
    gone.set()
    with pytest.raises(EngineFailure, match="ended by itself with code 7"):
        await pod.task


async def test_workers_are_told_why_the_group_ended(start):
    pod = start(group_size=2)
    await pod.until(503, "have not joined")
    await pod.join("joined")
    await pod.until_ready()
    await pod.engine("exit/7")
    async with asyncio.timeout(60):
        while pod.answer["stage"] != "done":
            await pod.join("joined")
    assert pod.answer["over"].startswith("vLLM ended by itself with code 7")
    with pytest.raises(EngineFailure):
        await pod.task


async def test_told_to_stop_before_serving(start):
    pod = start(group_size=2)
    await pod.until(503, "have not joined")
    pod.stop.ask()
    async with asyncio.timeout(60):
        assert await pod.task == 0
