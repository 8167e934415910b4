"""The load of `make faults` tells apart what becomes of a request; a result is judged by what may not happen."""

import asyncio
import json

import aiohttp
import pytest
from aiohttp import web
from faults import load as load_module
from faults.catalogue import FAULTS, ROOT, manifest
from faults.load import Load
from faults.report import machine, markdown, row, table
from faults.trial import Result, judge
from faults.watching import Seen

TOKENS = {True: load_module._STREAM_TOKENS, False: load_module._PLAIN_TOKENS}
BY_NAME = {fault.name: fault for fault in FAULTS}
HEADERS = {"x-manta-replica": "sharded-1-0", "Content-Type": "application/json"}


def event(**more) -> bytes:
    return b"data: " + json.dumps({"choices": [{"delta": {"content": "a"}}]} | more).encode() + b"\n\n"


def whole(tokens) -> bytes:
    return json.dumps({"usage": {"completion_tokens": tokens}}).encode()


USAGE = event(choices=[], usage={"completion_tokens": TOKENS[True]})
SHORT = event(choices=[], usage={"completion_tokens": 3})
ERROR = b'data: {"error": {"message": "engine died"}}\n\n'
DONE = b"data: [DONE]\n\n"


@pytest.mark.parametrize(
    ("stream", "status", "body", "cut", "fate"),
    [
        pytest.param(False, 200, whole(TOKENS[False]), False, "ok", id="whole"),
        pytest.param(False, 200, whole(3), False, "short", id="whole but short"),
        pytest.param(False, 200, b'{"usage"', True, "failed", id="half a body"),
        pytest.param(False, 503, b"not now", False, "failed", id="refused"),
        pytest.param(False, None, b"", True, "failed", id="hung up on"),
        pytest.param(True, 200, event() + USAGE + DONE, False, "ok", id="streamed"),
        pytest.param(True, 200, event() + SHORT + DONE, False, "short", id="streamed but short"),
        pytest.param(True, 200, event(), True, "broken_after", id="broken off"),
        pytest.param(True, 200, event() + ERROR, False, "broken_after", id="error event"),
        pytest.param(True, 200, event(), False, "broken_after", id="no end"),
        pytest.param(True, 200, b"", True, "broken_before", id="headers alone"),
        pytest.param(True, None, b"", True, "broken_before", id="stream hung up on"),
        pytest.param(True, 200, None, False, "hung", id="silence"),
    ],
)
async def test_every_fate_is_told_apart(monkeypatch, stream, status, body, cut, fate):
    monkeypatch.setattr(load_module, "HANG_SECONDS", 0.2)
    asked = asyncio.Event()

    async def handler(request):
        # The other kind of request is not looked at.
        if (await request.json())["stream"] != stream:
            return web.Response(status=500)
        asked.set()
        if status is None:
            request.transport.abort()
        response = web.StreamResponse(status=status or 200, headers=HEADERS)
        await response.prepare(request)
        if body is None:
            await asyncio.sleep(60)
        await response.write(body)
        if cut:
            request.transport.abort()
        return response

    application = web.Application()
    application.router.add_post("/", handler)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    async with Load(f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}/", "tiny", rate=20) as load:
        await asyncio.wait_for(asked.wait(), 30)
        first = next(each for each in load.requests if each.stream == stream)
        await load.settle(first.began + 0.001)
    await runner.cleanup()
    assert (first.fate, first.detail) == (fate, first.detail)
    assert first.replica == ("" if status is None else "sharded-1-0")


def result(name, *fates, replica="sharded-1-0", left=()) -> Result:
    made = Result(BY_NAME[name], victim="sharded-1-0", began=100.0, left=list(left))
    made.seen = Seen(1.04, 2.0, 40.0, 4.0, {"sharded-1-0": "exit code 1: 17:41:16 manta rank 0: Ray ended with code 1"})
    for number, fate in enumerate(fates):
        request = load_module.Request(number, True, 99.0 + number, replica, 3, 150.0, fate)
        made.requests.append(request)
    judge(made)
    return made


@pytest.mark.parametrize(
    ("made", "problem"),
    [
        pytest.param(result("GCS", "ok", "broken_after", "failed"), None, id="what a kill costs"),
        pytest.param(result("GCS", "hung"), "1 requests hung", id="a hang"),
        pytest.param(result("GCS", left=["12 raylet"]), "left behind: ['12 raylet']", id="a process left behind"),
        pytest.param(result("operator", "ok"), None, id="nothing lost"),
        pytest.param(result("operator", "failed"), "1 requests were lost, and none may be", id="nothing may be lost"),
        pytest.param(result("GCS", "short", replica="sharded-2-0"), "on another replica", id="the other replica"),
        pytest.param(result("GCS", *["failed"] * 22), None, id="the victim, until the router looks away"),
        pytest.param(result("GCS", *["ok"] * 22, "failed"), "sent 20 s after it", id="the victim, later"),
        pytest.param(result("worker pod frozen", *["ok"] * 22, "failed"), None, id="a frozen pod is seen later"),
        pytest.param(result("GCS", *["failed"] * 7, replica=""), None, id="a few that nobody answered"),
        pytest.param(result("GCS", *["failed"] * 8, replica=""), "no replica answered, at most 5", id="an outage"),
        pytest.param(result("GCS", *["ok"] * 22, "failed", replica=""), "sent 20 s after it", id="an outage, later"),
    ],
)
def test_a_result_is_judged(made, problem):
    assert [problem in words for words in made.problems] == ([True] if problem else [])


def test_the_report_says_what_was_lost_and_until_when():
    made = row(result("GCS", "ok", "broken_after", "broken_before", "failed"))
    assert made["requests"] | {"sent": 4, "lost": 3, "failed": 1, "broken_after": 1} == made["requests"]
    assert (made["unready_s"], made["ended_s"], made["ready_s"], made["served_s"]) == (1.0, 2.0, 40.0, None)
    assert made["looked_away_s"] == 2.0
    assert made["visible_in"] == ["pod"]
    assert table([made]).row_count == 1
    lost = "4, 3 (1 failed, 1 broken_before, 1 broken_after), 0"
    assert f"| GCS | 1.0 s | 2.0 s | 4.0 s | - | {lost} | pod |" in markdown(machine(ROOT), [made])


LATE = 'exit code 137: INFO:     127.0.0.1:1 - "POST /v1/chat/completions HTTP/1.1" 200 OK'
ENGINE = "exit code 1: (EngineCore pid=7) INFO a line of vLLM"
NAMED = "exit code 1: 17:47:33 manta rank 0: vLLM ended by itself with code 0; before that VLLM::EngineCore (process 7)"
JOINED = "exit code 137: 17:22:29 manta rank 1: joined the group (epoch c5706483)"
PATIENT = "exit code 11: 17:23:15 manta rank 0: rank 1 (sharded-1-1) has been silent for 21 s: the group starts again"
STOPPED = "exit code 12: 17:23:15 manta rank 1: ray::RayWorkerProc.run (process 7) has been stopped for 10 s (SIGSTOP)"
GONE = "exit code 11: 17:23:15 manta rank 1: the head sharded-1-0.sharded is gone: refused"


@pytest.mark.parametrize(
    ("name", "said", "told"),
    [
        ("head's launcher", LATE, False),
        ("plain: launcher", LATE, False),
        ("engine core", ENGINE, False),
        ("engine core", NAMED, True),
        ("worker's raylet", NAMED, False),
        ("worker's launcher", JOINED, False),
        ("worker's launcher", PATIENT, True),
        ("head's launcher", GONE, True),
        ("worker pod frozen", PATIENT, True),
        ("worker's rank frozen", STOPPED, True),
        ("worker's rank frozen", NAMED, False),
        ("worker's rank", STOPPED, True),
        ("vLLM's API server", NAMED, True),
        ("vLLM's API server", LATE, False),
        ("operator", NAMED, False),
    ],
)
def test_a_pod_tells_of_a_fault_only_if_the_launcher_names_it(name, said, told):
    made = Result(BY_NAME[name], victim="sharded-1-0", began=100.0)
    made.seen.terminated = {"sharded-1-0": said}
    assert row(made)["visible_in"] == (["pod"] if told else [])


def test_a_condition_or_an_event_tells_if_it_is_about_the_group_and_names_what_died():
    made = Result(BY_NAME["plain: launcher"], victim="plain-1-0", began=100.0)
    made.seen.terminated = {"plain-1-0": LATE}
    made.seen.conditions = ["Ready=False Starting: 1 of 2 replicas serve", "Ready=False Starting: pod plain-1-0 starts"]
    made.seen.events = [
        "LLMDeployment plain: Settled: 2 of 2 replicas serve",
        "Pod plain-1-0: BackOff: killed (SIGKILL)",
    ]
    assert "| not told |" in markdown(machine(ROOT), [row(made)])
    made.seen.conditions += ["Ready=False Starting: pod plain-1-0 starts again, its engine ended: killed (SIGKILL)"]
    assert row(made)["visible_in"] == ["condition"]
    made.seen.events += ["LLMDeployment plain: EngineEnded: replica plain-1, pod plain-1-0: killed (SIGKILL)"]
    assert row(made)["visible_in"] == ["condition", "event"]


def test_every_fault_of_an_engine_can_be_told():
    assert {fault.name for fault in FAULTS if fault.told is None} == {"Kubernetes API frozen 20 s", "operator"}


def test_two_replicas_of_each_shape_are_deployed():
    for shape in ("sharded", "plain"):
        spec = manifest(shape)["spec"]
        assert (spec["replicas"], spec["router"]["replicas"]) == (2, 1)


def test_aiohttp_gives_silence_a_name_of_its_own():
    assert issubclass(aiohttp.SocketTimeoutError, TimeoutError)
