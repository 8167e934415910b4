"""A worker's life beside a head that the test plays: real HTTP, a sleeping process for Ray."""

import asyncio
import json
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest

from manta_runtime.engine import adapters_copies, group, head_link, worker
from manta_runtime.engine.adapters import Copy
from manta_runtime.engine.control import control_server
from manta_runtime.engine.failure import GROUP_OVER, EngineFailure
from manta_runtime.engine.group import Group, answer_of, copies_of_others, join, state_of
from manta_runtime.engine.journal import Journal
from manta_runtime.engine.processes import Child
from manta_runtime.engine.ray_node import free_port
from manta_runtime.engine.readiness import Health, judge_head
from manta_runtime.engine.settings import EngineSettings
from manta_runtime.engine.stop import Stop

pytestmark = pytest.mark.integration

HOST = "127.0.0.1"
TOKEN = "s3cret"


class Head:
    """The head of the group, played by the test."""

    def __init__(self) -> None:
        self.group = Group(epoch="e1", size=2, pod_prefix="tiny", address="127.0.0.1:7000")

    def readiness(self):
        return judge_head(self.group, Health())

    def state(self):
        return state_of(self.group)

    def welcome(self, request):
        self.group, refusal = join(self.group, request, 0.0)
        return refusal or answer_of(self.group)

    async def until(self, condition) -> None:
        async with asyncio.timeout(60):
            while not condition(self.group):  # noqa: ASYNC110 - the state changes in HTTP handlers
                await asyncio.sleep(0.02)


async def until_listening(port: int) -> None:
    async with asyncio.timeout(60):
        while True:
            with suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.2", port)
                writer.close()
                return
            await asyncio.sleep(0.02)


@pytest.fixture
async def launch(tmp_path, monkeypatch):
    """Return a function that starts a worker whose process runs `code`; yields (task, stop, control port)."""
    monkeypatch.setattr(worker, "_POLL_SECONDS", 0.05)
    monkeypatch.setattr(worker, "_AFTER_HEAD_SECONDS", 0.0)
    monkeypatch.setattr(head_link, "REFUSED_SECONDS", 0.3)
    monkeypatch.setattr(group, "MEETING_SECONDS", 0.0)
    tasks = []
    async with aiohttp.ClientSession() as session:

        def start(head_port: int, code: str = "import time; time.sleep(60)", **changes):
            async def start_ray(_settings, environment, address, hear=None):
                return await Child.start("ray", [sys.executable, "-I", "-c", code], environment), address

            monkeypatch.setattr(worker, "start_ray", start_ray)
            settings = EngineSettings(
                rank=1,
                group_size=2,
                pod_ip="127.0.0.2",
                pod_name="tiny-1",
                head=HOST,
                port=8000,
                control_port=head_port,
                executor="ray",
                accelerator="cpu",
                accelerators_per_pod=1,
                startup_seconds=60,
                drain_seconds=5,
                scratch=Path(tmp_path),
                vllm_flags=("--model=/m", "--tensor-parallel-size=2"),
                group_token=TOKEN,
            )
            stop = Stop()
            run = worker.run_worker(replace(settings, **changes), {}, stop, session)
            tasks.append(asyncio.create_task(run))
            return tasks[-1], stop

        yield start
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_it_waits_for_the_head_joins_and_becomes_ready(launch):
    port = free_port(HOST)
    launch(port)
    async with aiohttp.ClientSession() as session:
        await until_listening(port)
        async with session.get(f"http://127.0.0.2:{port}/readyz") as response:
            assert response.status == 503
        head = Head()
        async with control_server(head, HOST, port, TOKEN):
            await head.until(lambda group: not group.missing)
            async with session.get(f"http://127.0.0.2:{port}/readyz") as response:
                assert response.status == 200
            async with session.get(f"http://127.0.0.2:{port}/status") as response:
                status = await response.json()
    assert (status["phase"], status["rank"], status["group"]) == ("ready", 1, "tiny")
    assert [each["phase"] for each in status["phases"]] == ["group", "ray", "ready"]


async def test_it_ends_soon_after_its_head(launch):
    head = Head()
    async with control_server(head, HOST, 0, TOKEN) as port:
        task, _ = launch(port)
        await head.until(lambda group: not group.missing)
    async with asyncio.timeout(60):
        with pytest.raises(EngineFailure, match="is gone"):
            await task


async def test_it_says_why_the_head_ended(launch):
    head = Head()
    async with control_server(head, HOST, 0, TOKEN) as port:
        task, _ = launch(port)
        await head.until(lambda group: not group.missing)
        head.group = replace(head.group, stage="done", over="vLLM ended by itself with code 7")
        with pytest.raises(EngineFailure, match="the head ended: vLLM ended by itself with code 7") as failure:
            await task
    assert failure.value.code == GROUP_OVER


async def test_a_head_that_says_nothing_of_its_end_is_told_in_whole_words(launch):
    head = Head()
    async with control_server(head, HOST, 0, TOKEN) as port:
        task, _ = launch(port)
        await head.until(lambda group: not group.missing)
        head.group = replace(head.group, stage="done")
        with pytest.raises(EngineFailure, match=r"^the head has ended, and did not say why$"):
            await task


async def test_it_ends_when_the_head_has_another_epoch(launch):
    head = Head()
    async with control_server(head, HOST, 0, TOKEN) as port:
        task, _ = launch(port)
        await head.until(lambda group: not group.missing)
        head.group = Group(epoch="e2", size=2, pod_prefix="tiny", address="127.0.0.1:7000")
        with pytest.raises(EngineFailure, match="the head started again"):
            await task
    assert not head.group.lost


async def test_with_another_model_than_the_heads_it_ends_at_once(launch, monkeypatch):
    monkeypatch.setattr(worker, "Journal", lambda place: Journal(place, model="b"))
    head = Head()
    head.group = replace(head.group, model="a")
    async with control_server(head, HOST, 0, TOKEN) as port:
        task, _ = launch(port)
        async with asyncio.timeout(60):
            with pytest.raises(EngineFailure, match=r"rank 1 \(tiny-1\) has model b, rank 0 has a"):
                await task
    assert "has model b" in head.group.lost


async def test_its_own_process_dying_is_told_to_the_head(launch):
    head = Head()
    async with control_server(head, HOST, 0, TOKEN) as port:
        task, _ = launch(port, code="import time; time.sleep(0.3); raise SystemExit(9)")
        with pytest.raises(EngineFailure, match="ray ended with code 9") as failure:
            await task
    assert failure.value.code == 9
    assert head.group.lost == "rank 1 (tiny-1) ended: ray ended with code 9: this rank is lost"


async def test_told_to_stop_it_serves_on_until_the_head_is_done(launch):
    head = Head()
    async with control_server(head, HOST, 0, TOKEN) as port:
        task, stop = launch(port)
        await head.until(lambda group: not group.missing)
        stop.ask()
        await head.until(lambda group: group.leaving == (1,))
        await asyncio.sleep(0.3)
        assert not task.done()
        head.group = replace(head.group, stage="done")
        assert await task == 0


async def test_told_to_stop_it_leaves_at_the_deadline(launch):
    head = Head()
    async with control_server(head, HOST, 0, TOKEN) as port:
        task, stop = launch(port, drain_seconds=0.3)
        await head.until(lambda group: not group.missing)
        stop.ask()
        async with asyncio.timeout(60):
            assert await task == 0


async def test_without_a_head_it_gives_up_and_says_so(launch):
    task, _ = launch(free_port(HOST), startup_seconds=0.2)
    with pytest.raises(EngineFailure, match=r"gave up .* waiting for the head 127\.0\.0\.1"):
        await task


async def test_told_to_stop_while_it_waits_it_just_ends(launch):
    port = free_port(HOST)
    task, stop = launch(port)
    await until_listening(port)
    stop.ask()
    async with asyncio.timeout(60):
        assert await task == 0


async def test_it_tells_with_every_join_what_it_has_of_the_adapters(launch, tmp_path, monkeypatch):
    monkeypatch.setattr(adapters_copies, "LOOK_SECONDS", 0.05)
    folder = tmp_path / "poet"
    entry = {"name": "poet", "key": "poet-1", "path": str(folder), "fetch": False, "uri": "pvc://claim/poet"}
    wanted = tmp_path / "adapters.json"
    wanted.write_text(json.dumps({"hash": "x", "adapters": [entry]}))
    head = Head()
    async with control_server(head, HOST, 0, TOKEN) as port:
        launch(port, adapters=wanted)
        await head.until(lambda group: group.members and group.members[0].copies.get("poet-1"))
        assert "there is no folder" in copies_of_others(head.group)[1]["poet-1"].message
        folder.mkdir()
        (folder / "adapter_config.json").touch()
        (folder / "adapter_model.bin").touch()
        await head.until(lambda group: copies_of_others(group)[1]["poet-1"] == Copy("has"))
