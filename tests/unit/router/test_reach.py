"""New replicas are picked from when Envoy knows them."""

import asyncio
from contextlib import asynccontextmanager

import pytest
from picker_world import CONFIG, World

from manta_runtime.router.config import parse
from manta_runtime.router.endpoints import FILE_NAME, EndpointsFile
from manta_runtime.router.picker import http, reach, run
from manta_runtime.router.picker.engine_client import EngineClient
from manta_runtime.router.picker.http import Answer
from manta_runtime.router.picker.reach import Reach
from manta_runtime.router.picker.written import Written

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
        while self.asked < enough:
            await asyncio.sleep(0.005)
            assert self.changes.empty()


@pytest.fixture(autouse=True)
def patience(monkeypatch):
    """Longer than any pause of a busy machine; tests of it set their own."""
    monkeypatch.setattr(reach, "SILENT_SECONDS", 100.0)
    monkeypatch.setattr(reach, "BEHIND_SECONDS", 100.0)


@asynccontextmanager
async def listening(known=()):
    launcher = Launcher()
    server = await http.serve(launcher.serve, "127.0.0.1", 0, 1 << 10)
    _, port = server.sockets[0].getsockname()
    launcher.client = EngineClient(f"127.0.0.1:{port}", timeout=0.2)
    launcher.reach = Reach(launcher.client, frozenset(known), launcher.changes.put_nowait)
    try:
        yield launcher
    finally:
        await launcher.reach.close()
        server.close()


async def test_a_new_address_is_known_when_envoy_has_its_version():
    async with listening() as launcher:
        launcher.reach.follow("1", frozenset({A}))
        for version, status in (("", 200), ("0", 200), ("1", 503)):
            launcher.tell(version, status)
            await launcher.not_yet()
        assert (launcher.reach.known, launcher.reach.settled) == (frozenset(), False)
        launcher.tell("1")
        assert await launcher.changes.get() == {A}
        await launcher.changes.get()
        assert (launcher.reach.known, launcher.reach.settled) == ({A}, True)
        launcher.reach.follow("2", frozenset({A, B}))
        launcher.tell("2")
        assert await launcher.changes.get() == {A, B}, "it asks again"


async def test_what_went_is_gone_at_once_and_nobody_is_asked():
    async with listening(known=(A, B)) as launcher:
        for version, left in (("1", {A, B}), ("2", {B}), ("3", set())):
            launcher.reach.follow(version, frozenset(left))
            assert (launcher.reach.known, launcher.reach.settled) == (left, True)
        await asyncio.sleep(0.05)
        assert launcher.asked == 0
        launcher.reach.follow("4", frozenset({A}))
        assert launcher.reach.known == frozenset(), "it may be another pod's by now"


async def test_what_envoy_has_of_a_file_that_changes_faster_than_it_reads_is_known():
    async with listening(known=(A,)) as launcher:
        for version, addresses in (("1", {A, B}), ("2", {A, B, C}), ("3", {A, B})):
            launcher.reach.follow(version, frozenset(addresses))
        launcher.tell("1")
        assert await launcher.changes.get() == {A, B}


async def test_what_envoy_has_and_will_lose_for_a_moment_is_not_known():
    async with listening(known=(A,)) as launcher:
        for version, addresses in (("1", {A, B}), ("2", {A}), ("3", {A, B})):
            launcher.reach.follow(version, frozenset(addresses))
        for version in ("1", "2"):
            launcher.tell(version)
            await launcher.not_yet()
        launcher.tell("3")
        assert await launcher.changes.get() == {A, B}


async def test_who_comes_meanwhile_is_waited_for_too():
    async with listening() as launcher:
        launcher.reach.follow("1", frozenset({A}))
        await launcher.not_yet()
        launcher.reach.follow("2", frozenset({A, B, C}))
        launcher.tell("1")
        assert await launcher.changes.get() == {A}
        launcher.reach.follow("3", frozenset({B, C}))
        assert launcher.reach.known == frozenset()
        await launcher.not_yet()
        launcher.tell("3")
        assert await launcher.changes.get() == {B, C}


@pytest.mark.parametrize(("patience", "answer"), [("SILENT_SECONDS", None), ("BEHIND_SECONDS", "another")])
async def test_a_launcher_that_does_not_tell_is_not_waited_for_for_ever(monkeypatch, caplog, patience, answer):
    monkeypatch.setattr(reach, patience, 0.3)
    async with listening() as launcher:
        if answer is None:
            launcher.answer = asyncio.get_running_loop().create_future()
        else:
            launcher.tell(answer)
        launcher.reach.follow("1", frozenset({A}))
        assert await launcher.changes.get() == {A}
        assert "has not said that it knows 1 new replicas" in caplog.text


async def test_nobody_listens_and_whatever_else_is_wrong(monkeypatch, caplog):
    monkeypatch.setattr(reach, "SILENT_SECONDS", 0.3)
    changes = asyncio.Queue()
    nobody = Reach(EngineClient("127.0.0.1:9", timeout=0.2), frozenset(), changes.put_nowait)
    nobody.follow("1", frozenset({A}))
    assert await changes.get() == {A}

    async def broken():
        raise ValueError("broken")

    monkeypatch.setattr(nobody, "_told", broken)
    nobody.follow("2", frozenset({A, B}))
    assert await changes.get() == {A, B}
    assert "cannot ask what Envoy knows" in caplog.text


async def test_a_held_request_is_placed_when_envoy_knows_the_replica_and_a_restart_changes_nothing(tmp_path):
    async with listening() as launcher:
        world = World(tmp_path, "hold: {seconds: 30}")
        picker = world.picker
        picker.written = Written(tmp_path, picker.members, launcher.client, picker._usable_changed)
        held = world.ask()
        world.replicas("a")
        await launcher.not_yet()
        assert (held.done(), picker.members.usable) == (False, ())
        assert [e.name for e in picker.members.ready] == ["a"]
        assert not picker.eject("a"), "nobody was sent there"
        assert not picker.members.ejected
        version = EndpointsFile(tmp_path / FILE_NAME).version
        launcher.tell(version)
        assert (await held).replica == "a"
        asked = launcher.asked
        again = Written(tmp_path, picker.members, launcher.client, picker._usable_changed)
        again.write(0.0)
        assert (again.settled, [e.name for e in picker.members.usable]) == (True, ["a"])
        assert (EndpointsFile(tmp_path / FILE_NAME).version, launcher.asked) == (version, asked)
        await picker.written.close()


async def test_what_cannot_be_written_is_not_known_and_tried_again(tmp_path):
    async with listening() as launcher:
        launcher.tell("?")
        world = World(tmp_path, "hold: {seconds: 30}")
        picker, folder = world.picker, tmp_path / "run"
        picker.written = Written(folder, picker.members, launcher.client, picker._usable_changed)
        world.replicas("a")
        picker.written.again(1e9)
        assert (picker.members.usable, launcher.asked) == ((), 0)
        folder.mkdir()
        picker.written.again(2e9)
        launcher.tell(EndpointsFile(folder / FILE_NAME).version)
        await launcher.reach.close()
        async with asyncio.timeout(30):
            while not picker.members.usable:  # noqa: ASYNC110 - what becomes usable has no events
                await asyncio.sleep(0.01)
        await picker.written.close()


@pytest.mark.parametrize("pod_ip", ["10.0.0.9", "fd00::7"])
def test_the_launcher_is_asked_where_there_is_one(pod_ip):
    client = run._launcher(parse(CONFIG % "healthPort: 9999"), pod_ip)
    assert (client._host, client._port) == (pod_ip, 9999)
    assert run._launcher(parse(CONFIG % "mode: inference-pool"), pod_ip) is None
