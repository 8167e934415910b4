"""Questions to the routers over HTTP: whatever answers, at whatever speed, nothing raises and nothing is believed."""

import asyncio
import json
import threading
import time
from collections import Counter
from types import SimpleNamespace

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from scaled_deployment import document

from manta_operator.api import names
from manta_operator.controller import demand
from manta_operator.controller.demand import Routers

POD = SimpleNamespace(uid="u", address="127.0.0.1", name="demo-router", key=("ns", "demo"))


@pytest.fixture
async def routers(monkeypatch):
    """Routers whose one picker answers `answer`, a coroutine function of the request."""
    application = web.Application()
    routers = Routers(None)
    routers.asked = []

    async def handle(request):
        routers.asked.append(request.path)
        return await routers.answer(request)

    application.router.add_get("/{tail:.*}", handle)
    async with TestServer(application) as server:
        monkeypatch.setattr(names, "PICKER_PORT", server.port)
        yield routers
        await routers.close()


def says(**response):
    async def answer(_):
        return web.Response(**response)

    return answer


async def test_a_document_is_read(routers):
    async def answer(_):
        return web.json_response(document(7, held=2))

    routers.answer = answer
    found = (await routers.ask([POD]))["u"]
    assert (found.counts[0], found.held) == (7.0, 2)
    assert (await routers.hold(POD)).held == 2
    assert routers.asked == ["/demand", "/demand/held"]


WRONG = {
    "no json": {"text": "hello"},
    "nested": {"text": "[" * 100_000},
    "half": {"text": '{"instance": "1", '},
    "a list": {"text": "[1]"},
    "long": {"text": "1" + " " * demand._BYTES},
    "an error": {"status": 500, "text": "{}"},
    "not there": {"status": 404},
    "elsewhere": {"status": 302, "headers": {"Location": "/demand"}},
    "binary": {"body": b"\xff\xfe\x00"},
}


@pytest.mark.parametrize("response", WRONG.values(), ids=WRONG)
async def test_whatever_is_no_document_is_no_answer(routers, response):
    routers.answer = says(**response)
    assert await routers.ask([POD]) == {"u": None}
    assert await routers.hold(POD) is None
    assert routers.asked == ["/demand", "/demand/held", "/demand"], "a redirection was followed"


async def test_one_that_is_slow_or_pours_gives_no_answer_in_time(routers, monkeypatch):
    monkeypatch.setattr(demand, "ANSWER_SECONDS", 0.05)

    async def hang(_):
        await asyncio.sleep(30)

    async def pour(request):
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b" ")
            await asyncio.sleep(0.01)

    for answer in (hang, pour):
        routers.answer = answer
        began = time.monotonic()
        assert await routers.ask([POD]) == {"u": None}
        assert time.monotonic() - began < 5


async def test_another_deployments_router_at_that_address_is_no_answer(routers):
    routers.answer = says(text=json.dumps(document(7, held=2, deployment="ns/other")))
    assert await routers.ask([POD]) == {"u": None}
    routers.answer = says(text=json.dumps(document(7, held=2, deployment="ns/demo")))
    assert (await routers.ask([POD]))["u"].held == 2


async def test_nobody_listens_there(monkeypatch):
    monkeypatch.setattr(names, "PICKER_PORT", 9)
    routers = Routers(None)
    assert await routers.ask([POD, SimpleNamespace(uid="v", address="::1", name="x", key=("ns", "x"))]) == {
        "u": None,
        "v": None,
    }
    await routers.close()


async def test_where_no_question_may_wait_it_is_asked_at_once(routers):
    async def answer(request):
        return web.Response(status=503) if request.path == "/demand/held" else web.json_response(document(1, held=1))

    routers.answer = answer
    assert (await routers.hold(POD)).held == 1


async def test_a_document_may_be_as_long_as_there_can_be_engines(routers):
    routers.answer = says(text=json.dumps(document(1)) + " " * 200_000)
    assert await routers.ask([POD]) == {"u": None}
    assert (await routers.ask([POD], 20))["u"] is not None
    assert demand.most_bytes(10**6) == demand._BYTES


async def test_one_that_has_no_such_page_is_known_to_be_old_for_a_while(routers, monkeypatch):
    routers.answer = says(status=500)
    await routers.ask([POD])
    assert not routers.old(POD)
    routers.answer = says(status=404)
    await routers.ask([POD])
    assert routers.old(POD)
    monkeypatch.setattr(demand, "_OLD_SECONDS", 0.0)
    assert not routers.old(POD)


async def test_a_long_document_is_read_beside_the_loop(routers, monkeypatch):
    threads = []

    def read(*_):
        threads.append(threading.current_thread() is threading.main_thread())

    monkeypatch.setattr(demand, "_read", read)
    for length in (10, demand._BYTES_AT_ONCE + 1):
        routers.answer = says(text="x" * length)
        await routers.ask([POD], 100)
    assert threads == [True, False]


async def test_questions_that_wait_take_turns(routers, monkeypatch):
    routers._turns = asyncio.Semaphore(2)
    held, enough = Counter(), asyncio.Event()
    pods = [SimpleNamespace(uid=str(at), address=str(at), name="", key=("ns", "demo")) for at in range(6)]

    async def get(pod, path, *_):
        if path == "/demand/held":
            held[pod.uid] += 1
            await asyncio.sleep(0.002)
            if held.total() == 60:
                enough.set()

    async def hang(pod):
        while True:
            await routers.hold(pod, 1, 60.0)

    monkeypatch.setattr(routers, "_get", get)
    tasks = [asyncio.create_task(hang(pod)) for pod in pods]
    await enough.wait()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert min(held[pod.uid] for pod in pods) >= 8


async def test_only_so_many_questions_wait_and_the_others_are_asked_at_once(routers):
    routers._turns = asyncio.Semaphore(1)
    came, free = asyncio.Event(), asyncio.Event()

    async def answer(request):
        if request.path == "/demand/held":
            came.set()
            await free.wait()
        return web.json_response(document(1))

    routers.answer = answer
    waits = asyncio.create_task(routers.hold(POD))
    await came.wait()
    assert await routers.hold(POD) is not None
    assert routers.asked == ["/demand/held", "/demand"]
    free.set()
    assert await waits is not None
    assert not routers._turns.locked()
