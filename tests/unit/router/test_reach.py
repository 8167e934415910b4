"""New replicas are picked from when Envoy knows them."""

import asyncio
from contextlib import asynccontextmanager

import pytest
from tests.support.picker_world import World

from manta_runtime.router.endpoints import FILE_NAME
from manta_runtime.router.picker import http, reach
from manta_runtime.router.picker.engine_client import EngineClient
from manta_runtime.router.picker.http import Answer
from manta_runtime.router.picker.reach import Reach

A, B, C = "10.0.0.1:8000", "10.0.0.2:8000", "10.0.0.3:8000"


class Launcher:
    """Answers what a test says; `asked` counts. `changes`: what became known."""

    def __init__(self):
        self.answer, self.asked, self.changes = Answer(200), 0, asyncio.Queue()

    def serve(self, question):
        assert question.path == "/endpoints"
        self.asked += 1
        return self.answer

    def tell(self, version, status=200):
        self.answer = Answer(status, version.encode(), content_type="text/plain")

    async def not_yet(self):
        """Nothing becomes known although it is asked some times more."""
        enough = self.asked + 3
        while self.asked < enough:  # noqa: ASYNC110 - what asks has no events
            await asyncio.sleep(0.005)
        assert self.changes.empty()


@asynccontextmanager
async def listening():
    launcher = Launcher()
    server = await http.serve(launcher.serve, "127.0.0.1", 0, 1 << 10)
    _, port = server.sockets[0].getsockname()
    launcher.reach = Reach(EngineClient(f"127.0.0.1:{port}", timeout=0.2), launcher.changes.put_nowait)
    try:
        yield launcher
    finally:
        await launcher.reach.close()
        server.close()


async def test_a_new_address_is_known_when_envoy_has_its_version():
    async with listening() as launcher:
        assert launcher.reach.follow("1", frozenset({A})) == frozenset()
        for version, status in (("", 200), ("0", 200), ("1", 503)):
            launcher.tell(version, status)
            await launcher.not_yet()
        launcher.tell("1")
        assert await launcher.changes.get() == {A}


async def test_what_went_is_gone_at_once_and_nobody_is_asked():
    async with listening() as launcher:
        launcher.tell("1")
        launcher.reach.follow("1", frozenset({A, B}))
        assert await launcher.changes.get() == {A, B}
        asked = launcher.asked
        assert launcher.reach.follow("2", frozenset({B})) == {B}
        assert launcher.reach.follow("3", frozenset()) == frozenset()
        await asyncio.sleep(0.05)
        assert launcher.asked == asked
        assert launcher.reach.follow("4", frozenset({A})) == frozenset(), "it may be another pod's by now"


async def test_who_comes_meanwhile_is_waited_for_too():
    async with listening() as launcher:
        launcher.reach.follow("1", frozenset({A}))
        await launcher.not_yet()
        launcher.reach.follow("2", frozenset({A, B, C}))
        launcher.tell("1")
        await launcher.not_yet()
        launcher.reach.follow("3", frozenset({B, C}))
        launcher.tell("3")
        assert await launcher.changes.get() == {B, C}
        assert launcher.changes.empty()


@pytest.mark.parametrize("silent", [True, False])
async def test_a_launcher_that_does_not_tell_is_not_waited_for_long(monkeypatch, caplog, silent):
    monkeypatch.setattr(reach, "PATIENCE_SECONDS", 0.3)
    async with listening() as launcher:
        if silent:
            launcher.answer = asyncio.get_running_loop().create_future()
        else:
            launcher.tell("another")
        launcher.reach.follow("1", frozenset({A}))
        assert await launcher.changes.get() == {A}
        assert "has not said in 0.3 s that it knows 1 new replicas" in caplog.text


async def test_nobody_listens(monkeypatch):
    monkeypatch.setattr(reach, "PATIENCE_SECONDS", 0.3)
    changes = asyncio.Queue()
    nobody = Reach(EngineClient("127.0.0.1:9", timeout=0.2), changes.put_nowait)
    nobody.follow("1", frozenset({A}))
    assert await changes.get() == {A}


async def test_a_held_request_is_placed_when_envoy_knows_the_replica(tmp_path):
    async with listening() as launcher:
        world = World(tmp_path, "hold: {seconds: 30}")
        picker, launcher.reach._changed = world.picker, world.picker._reached
        picker.reach = launcher.reach
        held = world.ask()
        world.replicas("a")
        await launcher.not_yet()
        assert not held.done()
        assert picker.members.usable == ()
        assert [e.name for e in picker.members.ready] == ["a"]
        launcher.tell(picker._endpoints.version)
        assert f'"{picker._endpoints.version}"' in (tmp_path / FILE_NAME).read_text()
        assert (await held).replica == "a"
