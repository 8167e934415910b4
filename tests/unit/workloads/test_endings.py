"""Tasks of the box end when they are cancelled: also at the very moment something else wakes them, and if stubborn."""

import asyncio
import logging
import time

from manta_operator.box.cluster import Cluster, Event
from manta_operator.box.endings import end_tasks
from manta_operator.box.workloads.runner import Runner


class Twice(Cluster):
    """A cluster with one Service, which changes once more when `change` is set."""

    def __init__(self):
        self.change = asyncio.Event()

    async def watch(self, *_):
        event = Event("ADDED", {"kind": "Service", "metadata": {"namespace": "a", "name": "b"}})
        yield event
        await self.change.wait()
        yield event
        await asyncio.Event().wait()


class Care:
    """A controller that wants another look later: its runner waits with a timeout."""

    name, kinds = "care", ("Service",)

    def keys(self, event):
        return [("a", "b")]

    def reconcile(self, key):
        return 60


async def test_controllers_end_though_a_change_comes_with_the_cancellation():
    for turns in range(8):
        cluster = Twice()
        part = asyncio.create_task(Runner(cluster, [Care()]).run())
        await asyncio.sleep(0.002)
        cluster.change.set()
        for _ in range(turns):
            await asyncio.sleep(0)
        part.cancel()
        await asyncio.wait({part}, timeout=0.5)
        assert part.done(), f"cancelled {turns} turns after the change, they went on"


async def _deaf(times, ended):
    for _ in range(times):
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            continue
    ended.set()


async def test_a_task_that_swallows_one_cancellation_is_cancelled_again(caplog):
    ended = asyncio.Event()
    task = asyncio.create_task(_deaf(2, ended), name="the deaf")
    await asyncio.sleep(0)
    await end_tasks([task], seconds=0.1)
    assert ended.is_set()
    assert not caplog.records


async def test_a_task_that_never_ends_is_named_and_left_behind(caplog):
    ended = asyncio.Event()
    task = asyncio.create_task(_deaf(3, ended), name="the deaf")
    await asyncio.sleep(0)
    begun = time.monotonic()
    with caplog.at_level(logging.ERROR):
        await end_tasks([task], seconds=0.1)
    assert time.monotonic() - begun < 2
    assert "the deaf did not end" in caplog.text
    assert f"{__file__}:" in caplog.text
    task.cancel()
    await task
