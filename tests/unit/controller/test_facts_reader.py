"""Checkpoints are read once for everybody, and one that hangs holds up nobody."""

import asyncio
import threading
from collections import Counter

import pytest
from one_deployment import KEY, OneDeployment

from manta_operator.controller import facts_reader
from manta_operator.controller.facts_reader import UNSEEN, FactsReader
from manta_operator.controller.loop import PASSES_AT_ONCE, Loop
from manta_operator.controller.rhythm import Rhythm
from manta_operator.facts.models import FactsError


class Disk:
    """Reads that hang until they are let go."""

    def __init__(self):
        self.reads, self.gate = Counter(), threading.Event()

    def read(self, uri):
        self.reads[uri] += 1
        if "hangs" in uri:
            self.gate.wait(10)
        if "broken" in uri:
            raise FactsError("config.json: not JSON")
        if "bug" in uri:
            raise ZeroDivisionError
        return uri


@pytest.fixture
def disk(monkeypatch):
    monkeypatch.setattr(facts_reader, "PATIENCE_SECONDS", 0.05)
    disk = Disk()
    yield disk
    disk.gate.set()


async def test_who_asks_at_the_same_time_or_soon_after_shares_one_read(disk):
    reader = FactsReader(disk.read)
    answers = await asyncio.gather(*(reader.read("file:///a") for _ in range(50)))
    assert set(answers) == {("file:///a", "")}
    assert await reader.read("file:///broken") == await reader.read("file:///broken")
    assert disk.reads == {"file:///a": 1, "file:///broken": 1}


async def test_one_that_hangs_counts_as_not_seen_and_is_not_read_again(disk, caplog, monkeypatch):
    caplog.set_level("INFO")
    monkeypatch.setattr(facts_reader, "FRESH_SECONDS", 0.0)
    reader = FactsReader(disk.read)
    assert [await reader.read("file:///hangs") for _ in range(3)] == [UNSEEN] * 3
    assert disk.reads["file:///hangs"] == 1
    assert caplog.text.count("file:///hangs: reading it hangs") == 1
    disk.gate.set()
    await asyncio.sleep(0.05)
    assert "file:///hangs: reading it has ended" in caplog.text
    assert await reader.last("file:///hangs") == ("file:///hangs", "")


async def test_many_who_wait_for_the_same_hold_up_nobody(disk, monkeypatch):
    monkeypatch.setattr(facts_reader, "PATIENCE_SECONDS", 1.0)
    reader = FactsReader(disk.read)
    hung = [asyncio.create_task(reader.read("file:///hangs")) for _ in range(100)]
    await asyncio.sleep(0)
    assert await asyncio.wait_for(reader.read("file:///a"), 0.5) == ("file:///a", "")
    disk.gate.set()
    assert set(await asyncio.gather(*hung)) == {("file:///hangs", "")}


async def test_those_that_hang_hold_up_no_other_for_long(disk):
    reader = FactsReader(disk.read)
    hung = [asyncio.create_task(reader.read(f"file:///hangs/{number}")) for number in range(40)]
    await asyncio.sleep(0)
    assert await asyncio.wait_for(reader.read("file:///a"), 2) == ("file:///a", "")
    await asyncio.gather(*hung)


async def test_a_bug_is_told_and_the_next_read_is_a_new_one(disk):
    reader = FactsReader(disk.read)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            await reader.read("file:///bug")
    assert disk.reads["file:///bug"] == 2


async def test_passes_do_not_wait_for_those_whose_checkpoint_hangs(disk, monkeypatch):
    monkeypatch.setattr(facts_reader, "PATIENCE_SECONDS", 60.0)
    monkeypatch.setattr(facts_reader, "READS_AT_ONCE", 1000)
    one = OneDeployment(lambda uri: disk.read(uri) and None)
    one.hear()
    loop, entry = Loop(one.reconciler, one.store, Rhythm(600)), one.deployments.get(KEY)
    others = []
    for number in range(2 * PASSES_AT_ONCE):
        model = {"model": {"uri": f"file:///hangs/{number}"}}
        body = entry.body | {"metadata": entry.body["metadata"] | {"name": f"other-{number}", "uid": f"u{number}"}}
        others.append(one.deployments.see(body | {"spec": entry.body["spec"] | model}))
    hung = [asyncio.create_task(loop.run(other)) for other in others]
    await asyncio.sleep(0.05)
    ours = asyncio.create_task(loop.run(entry))
    async with asyncio.timeout(20):
        while not one.cluster.list("StatefulSet", "default"):  # noqa: ASYNC110 - the cluster tells nobody
            await asyncio.sleep(0.01)
    for task in [*hung, ours]:
        task.cancel()
    await asyncio.gather(*hung, ours, return_exceptions=True)
