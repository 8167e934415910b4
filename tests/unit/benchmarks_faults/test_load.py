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
    made.seen = Seen(1.04, 2.0, 40.0, 4.0, {"sharded-1-0": "exit code 1: rank 1 is lost"})
    for number, fate in enumerate(fates):
        request = load_module.Request(number, True, 99.0 + number, replica, 3, 120.0, fate)
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


def test_two_replicas_of_each_shape_are_deployed():
    for shape in ("sharded", "plain"):
        spec = manifest(shape)["spec"]
        assert (spec["replicas"], spec["router"]["replicas"]) == (2, 1)


def test_aiohttp_gives_silence_a_name_of_its_own():
    assert issubclass(aiohttp.SocketTimeoutError, TimeoutError)
