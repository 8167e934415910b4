"""A launcher's life with a stand-in for vLLM: real processes, real HTTP, no model."""

import asyncio
import sys
import time
from pathlib import Path

import aiohttp
import psutil
import pytest

from manta_runtime.engine import drain, draining, frozen, group, head, probing, progress, stalls
from manta_runtime.engine.failure import CUT_OFF, FROZEN, GROUP_OVER, HUNG, EngineFailure
from manta_runtime.engine.head import run_head
from manta_runtime.engine.journal import Journal, place_of
from manta_runtime.engine.processes import Child
from manta_runtime.engine.ray_node import free_port
from manta_runtime.engine.settings import EngineSettings
from manta_runtime.engine.stop import Stop
from manta_runtime.engine.vllm_client import make_client

HOST = "127.0.0.1"
TOKEN = "s3cret"
# /busy sets how many requests are in flight, /left how many clients hold on to finished ones, /hang makes steps stop
# (0: go on; 2: the next question is not answered), /sick fails /health, /mute /metrics, /begin begins a request that is
# over at once, /exit ends the process with a code.
ENGINE = """
import json, os, sys
from http.server import BaseHTTPRequestHandler, HTTPServer
state = {"busy": 0, "left": 0, "hang": 0, "sick": 0, "mute": 0, "steps": 0, "begun": 0}
class Handler(BaseHTTPRequestHandler):
    def answer(self, text):
        self.send_response(200); self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text))); self.end_headers()
        self.wfile.write(text.encode())
    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if state["hang"]:
            state["left"] += state["hang"] == 2
            return self.send_error(500)
        state["steps"] += 1
        self.answer(json.dumps({"usage": {"completion_tokens": 1}}))
    def do_GET(self):
        what, _, value = self.path.strip("/").partition("/")
        if what == "exit":
            os._exit(int(value))
        state["begun"] += what == "begin"
        if what in ("busy", "left", "hang", "sick", "mute"):
            state[what] = int(value)
        if state["sick"] and what == "health" or state["mute"] and what == "metrics":
            return self.send_error(503)
        if what == "load":
            return self.answer(json.dumps({"server_load": state["busy"] + state["left"]}))
        state["steps"] += bool(state["busy"] and not state["hang"])
        running = 0 if state["hang"] else state["busy"]
        self.answer("vllm:num_requests_running %d\\nvllm:num_requests_waiting 0\\n"
                    "vllm:iteration_tokens_total_count %d\\nvllm:prompt_tokens_total %d\\n"
                    % (running, state["steps"], state["begun"]))
    def log_message(self, *_): pass
HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


class Running:
    """A head that runs in this test, and the ways to look at it."""

    def __init__(self, settings: EngineSettings, session: aiohttp.ClientSession) -> None:
        self.stop = Stop()
        self._epoch = ""
        self.answer = {}
        self._settings = settings
        self._session = session
        self.journal = Journal(place_of(settings))
        client = make_client(session, settings, {})
        self.task = asyncio.create_task(run_head(settings, {}, self.stop, client, self.journal))

    async def readyz(self) -> tuple[int, str]:
        url = f"http://{HOST}:{self._settings.control_port}/readyz"
        try:
            async with self._session.get(url) as response:
                return response.status, await response.text()
        except aiohttp.ClientError:
            return 0, ""

    async def engine(self, path: str) -> None:
        try:
            async with self._session.get(f"http://{HOST}:{self._settings.port}/{path}") as response:
                await response.read()
        except aiohttp.ClientError:
            assert path.startswith("exit"), path

    async def join(self, stage: str, rank: int = 1, why: str = "") -> int:
        body = {"rank": rank, "podIp": HOST, "podName": "tiny-1", "instance": "i", "stage": stage, "epoch": self._epoch}
        body["why"] = why
        url = f"http://{HOST}:{self._settings.control_port}/group/join"
        async with self._session.post(url, json=body, headers={"Authorization": f"Bearer {TOKEN}"}) as response:
            self.answer = await response.json()
            self._epoch = self.answer["epoch"]
            return response.status

    async def until(self, status: int, words: str = "") -> None:
        """Wait until /readyz answers `status` with `words`."""
        async with asyncio.timeout(10):
            while (answer := await self.readyz())[0] != status or words not in answer[1]:
                if self.task.done():
                    self.task.result()
                await asyncio.sleep(0.02)

    async def until_seen_in_flight(self, count: int) -> None:
        async with asyncio.timeout(60):
            while self.journal.in_flight != count:  # noqa: ASYNC110 - the journal has no events
                await asyncio.sleep(0.02)

    async def until_ready(self) -> None:
        await self.until(200)


async def sleeping_ray(_settings, environment, hear=None):
    """Stand in for a Ray head: a process that lives as long as it is let."""
    return await Child.start("ray", [sys.executable, "-I", "-c", "import time; time.sleep(60)"], environment), "h:1"


@pytest.fixture
async def start(tmp_path, monkeypatch):
    """Return a function that starts a head with the stand-in engine; everything is faster than in a pod."""
    script = tmp_path / "engine.py"
    script.write_text(ENGINE)
    monkeypatch.setattr(head, "vllm_command", lambda settings: [sys.executable, "-I", str(script), str(settings.port)])
    monkeypatch.setattr(head, "start_ray", sleeping_ray)
    monkeypatch.setattr(group, "MEETING_SECONDS", 0.0)
    monkeypatch.setattr(stalls, "_LOOK_SECONDS", 0.05)
    monkeypatch.setattr(progress, "STALL_SECONDS", 0.4)
    monkeypatch.setattr(head, "_TICK_SECONDS", 0.05)
    monkeypatch.setattr(probing, "_TICK_SECONDS", 0.05)
    monkeypatch.setattr(draining, "_LOOK_SECONDS", 0.05)
    monkeypatch.setattr(drain, "QUIET_SECONDS", 0.2)
    running = []

    async with aiohttp.ClientSession() as session:

        def launch(group_size=1, drain_seconds=5.0, startup_seconds=10.0, hang_seconds=300.0):
            settings = EngineSettings(
                rank=0,
                group_size=group_size,
                pod_ip=HOST,
                pod_name="tiny-0",
                head=HOST,
                port=free_port(HOST),
                control_port=free_port(HOST),
                executor="ray" if group_size > 1 else "uni",
                accelerator="cpu",
                accelerators_per_pod=1,
                startup_seconds=startup_seconds,
                hang_seconds=hang_seconds,
                drain_seconds=drain_seconds,
                scratch=Path(tmp_path),
                vllm_flags=("--model=/m", "--served-model-name=tiny"),
                group_token=TOKEN,
            )
            running.append(Running(settings, session))
            return running[-1]

        yield launch
        for each in running:
            each.task.cancel()
        await asyncio.gather(*(each.task for each in running), return_exceptions=True)


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
    for _ in range(20):
        await pod.engine("begin")
        await asyncio.sleep(0.05)
    assert not pod.task.done(), "requests too short to be seen in flight kept coming"
    assert await pod.task == 0


async def test_past_the_deadline_the_engine_is_cut_off(start, caplog):
    caplog.set_level("INFO", "manta.engine")
    pod = start(drain_seconds=0.3)
    await pod.until_ready()
    await pod.engine("busy/1")
    begun = time.monotonic()
    pod.stop.ask()
    with pytest.raises(EngineFailure, match="not drained within 0 s, 1 request in flight were cut off") as failure:
        await pod.task
    assert failure.value.code == CUT_OFF
    assert 0.3 <= time.monotonic() - begun < 3
    assert (pod.journal.drains, pod.journal.cut_off) == (1, 1)
    assert pod.journal.drain_seconds >= 0.3
    assert f"drain over after {pod.journal.drain_seconds:.1f} s, 1 requests cut off" in caplog.messages


async def test_a_second_signal_hurries(start):
    pod = start(drain_seconds=60)
    await pod.until_ready()
    await pod.engine("busy/1")
    pod.stop.ask()
    await pod.until(503, "draining")
    pod.stop.ask()
    async with asyncio.timeout(3):
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


async def test_an_engine_that_dies_ends_the_pod_with_its_code(start):
    pod = start()
    await pod.until_ready()
    await pod.engine("exit/7")
    with pytest.raises(EngineFailure, match="vLLM ended by itself with code 7") as failure:
        await pod.task
    assert failure.value.code == 7


async def test_an_engine_that_ends_well_unasked_is_a_failure_too(start):
    pod = start()
    await pod.until_ready()
    await pod.engine("exit/0")
    with pytest.raises(EngineFailure) as failure:
        await pod.task
    assert failure.value.code == 1


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


async def test_an_engine_that_hangs_for_too_long_ends_the_pod(start):
    pod = start(hang_seconds=1.0)
    await pod.until_ready()
    await pod.engine("hang/1")
    await pod.engine("busy/2")
    with pytest.raises(EngineFailure, match=r"2 unanswered requests .* no progress for 1 s: it hangs") as failure:
        await pod.task
    assert failure.value.code == HUNG
    assert "spec.engine.hangSeconds is 1" in str(failure.value)


async def test_an_engine_that_hangs_while_idle_is_found_out(start, monkeypatch):
    monkeypatch.setattr(progress, "IDLE_SECONDS", 0.3)
    pod = start(hang_seconds=1.0)
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


async def test_a_long_step_beside_looks_that_fail_is_no_hang(start):
    pod = start(hang_seconds=1.0)
    await pod.until_ready()
    await pod.engine("busy/1")
    await pod.engine("mute/1")
    await asyncio.sleep(1.5)
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
    pod = start(group_size=2)
    await pod.until(503, "have not joined")
    await pod.join("joined")
    await pod.until_ready()
    await pod.join("leaving")
    assert await pod.task == GROUP_OVER


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


async def test_told_to_stop_before_serving(start):
    pod = start(group_size=2)
    await pod.until(503, "have not joined")
    pod.stop.ask()
    async with asyncio.timeout(3):
        assert await pod.task == 0
