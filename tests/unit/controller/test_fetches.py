"""Pods that fetch their model are asked how far they are, and the status says so, but not every time."""

import asyncio
import time
from dataclasses import replace

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from one_deployment import KEY, OneDeployment

from manta_operator.api import names
from manta_operator.controller import asking, fetches
from manta_operator.controller.loop import Loop
from manta_operator.controller.rhythm import Rhythm
from manta_operator.planning.fetching import TELL_SECONDS

FETCH = {"name": "fetch", "image": "i", "imageID": "", "ready": False, "restartCount": 0}
ENDLESS = object()
OFTEN = 8
RUNS = {"running": {"startedAt": "2026-01-01T00:00:00Z"}}


class Fetcher:
    """Stands for `manta-runtime fetch`: answers what it is told to, and counts."""

    def __init__(self):
        self.asked, self.status, self.poured = 0, 200, 0
        self.often, self.cut = asyncio.Event(), asyncio.Event()
        self.answer = {
            "state": "fetching",
            "total": 4 * 2**30,
            "bytes_per_s": 2e8,
            "seconds_left": 9,
            "waiting_for": "",
        }

    async def handle(self, request):
        self.asked += 1
        if self.asked == OFTEN:
            self.often.set()
        if isinstance(self.answer, str):
            return web.Response(text=self.answer)
        if self.answer is ENDLESS:
            return await self.pour(request)
        return web.json_response(self.answer, status=self.status)

    async def pour(self, request):
        response = web.StreamResponse()
        response.enable_chunked_encoding()
        await response.prepare(request)
        await response.write(b"[")
        try:
            while True:
                self.poured += 2**20
                await response.write(b"1," * 2**19)
        except (ConnectionError, asyncio.CancelledError):
            self.cut.set()
            raise

    def at(self, gibibytes):
        self.answer["bytes"] = int(gibibytes * 2**30)


@pytest.fixture
async def fetcher(monkeypatch):
    made = Fetcher()
    application = web.Application()
    application.router.add_get("/fetch", made.handle)
    async with TestServer(application) as server:
        monkeypatch.setattr(names, "CONTROL_PORT", server.port)
        yield made


@pytest.fixture
async def one(fetcher):
    """One replica, whose pod fetches."""
    made = OneDeployment()
    await made.settle()
    show(made, state=RUNS)
    fetcher.at(1)
    yield made
    await made.reconciler.close()


def show(one, **state):
    (group,) = one.groups()
    one.pod(group, phase="Pending", podIP="127.0.0.1", initContainerStatuses=[FETCH | state])


def due(one):
    """It is time to ask again."""
    one.deployments.get(KEY).memory.again["/fetch"] = 0.0


def again_in(one):
    """In how many seconds it will be asked again."""
    return one.deployments.get(KEY).memory.again["/fetch"] - time.monotonic()


async def test_the_status_says_how_far_the_fetch_is(one):
    await one.run()
    told = one.condition("ModelAvailable")
    assert (told["status"], told["reason"]) == ("Unknown", "Fetching")
    (group,) = one.groups()
    assert told["message"] == f"1.0 of 4.0 GiB (25 %), 200 MB/s, about 9 s left; pod {group['metadata']['name']}-0"
    assert one.condition("Ready")["message"] == told["message"]
    assert fetches.AGAIN_SECONDS - 1 < again_in(one) <= fetches.AGAIN_SECONDS
    assert [event["reason"] for event in one.client.events if event["reason"] == "Fetching"] == []


async def test_little_news_is_not_written_and_a_tenth_is(one, fetcher):
    await one.settle()
    fetcher.at(1.3)
    due(one)
    await one.run()
    assert (fetcher.asked, one.client.writes) == (2, {})
    fetcher.at(1.5)
    due(one)
    await one.run()
    assert one.client.writes == {"status": 1}
    assert "1.5 of 4.0 GiB" in one.condition("ModelAvailable")["message"]


async def test_passes_in_between_ask_nobody(one, fetcher):
    for _ in range(3):
        await one.run()
    assert fetcher.asked == 1


@pytest.mark.parametrize(
    ("status", "answer"), [(500, {}), (200, {}), (200, {"bytes": "many"}), (302, {"state": "fetching"})], ids=str
)
async def test_no_answer_is_said_and_soon_asked_again(one, fetcher, status, answer):
    fetcher.status, fetcher.answer = status, answer
    await one.run()
    assert one.condition("ModelAvailable")["message"].startswith("the model is fetched; how far it is, is not known")
    assert 0 < again_in(one) <= fetches.SOON_SECONDS
    due(one)
    await one.run()
    assert fetches.SOON_SECONDS < again_in(one) <= fetches.AGAIN_SECONDS, "whom it cannot reach it does not pester"


NESTED = "[" * 16000
HUGE = f'{{"state": "", "bytes": {10**400}, "total": 1, "bytes_per_s": 1, "seconds_left": 1, "waiting_for": ""}}'


@pytest.mark.parametrize("answer", [NESTED, HUGE, "{", ""], ids=["nested", "huge", "half", "empty"])
async def test_no_answer_ends_the_loop(one, fetcher, answer):
    fetcher.answer = answer
    for _ in range(2):
        due(one)
        await one.run()
    assert fetcher.asked == 2
    assert "is not known yet" in one.condition("ModelAvailable")["message"]


async def test_what_has_no_encoding_is_left_out_and_stops_no_status(one, fetcher):
    fetcher.answer |= {"state": "waiting", "waiting_for": "pod-\ud8007 \x1b[2J"}
    await one.run()
    assert one.condition("ModelAvailable")["message"].startswith("waits for pod-7 [2J; pod ")


async def test_of_an_answer_without_end_little_is_read(one, fetcher):
    fetcher.answer = ENDLESS
    began = time.monotonic()
    await one.run()
    assert time.monotonic() - began < asking.ANSWER_SECONDS / 2, "it is given up for its length, not for its time"
    await asyncio.wait_for(fetcher.cut.wait(), 5)
    assert fetcher.poured < 64 * 2**20
    assert "is not known yet" in one.condition("ModelAvailable")["message"]


async def test_a_bug_in_the_asking_ends_no_loop(one, monkeypatch, caplog):
    def told(*_):
        raise OverflowError("integer division result too large for a float")

    monkeypatch.setattr(fetches, "told", told)
    await one.run()
    assert "how far its fetches are is not known" in caplog.text
    assert again_in(one) > 0, "nor is it asked without a pause"


async def test_only_news_is_worth_a_pass(one, fetcher, monkeypatch):
    """The pods are asked again and again; the loop makes a pass when that changes what the status says."""
    monkeypatch.setattr(fetches, "AGAIN_SECONDS", 0.02)
    passes, run = [], one.reconciler.run
    seen = asyncio.Event()

    async def counted(entry):
        passes.append(fetcher.asked)
        outcome = await run(entry)
        if "1.5 of 4.0 GiB" in one.condition("ModelAvailable")["message"]:
            seen.set()
        one.see()
        return outcome

    await one.settle()
    monkeypatch.setattr(one.reconciler, "run", counted)
    entry = one.deployments.get(KEY)
    task = asyncio.create_task(Loop(one.reconciler, one.store, Rhythm(600)).run(entry))
    try:
        await asyncio.wait_for(fetcher.often.wait(), 5)
        before = len(passes)
        fetcher.at(1.5)
        await asyncio.wait_for(seen.wait(), 5)
    finally:
        entry.end()
        await asyncio.wait_for(task, 5)
    assert before <= 2, "so often asked, and nothing new"


async def test_one_answer_that_does_not_come_is_no_news(one, fetcher):
    await one.settle()
    fetcher.status = 500
    due(one)
    await one.run()
    assert one.client.writes == {}
    memory = one.deployments.get(KEY).memory
    memory.fetches = replace(memory.fetches, at=memory.fetches.at - TELL_SECONDS)
    due(one)
    await one.run()
    assert one.client.writes == {"status": 1}
    assert "is not known yet" in one.condition("ModelAvailable")["message"]


async def test_a_fetch_that_is_done_is_forgotten(one, fetcher):
    await one.settle()
    show(one, state={"terminated": {"exitCode": 0}})
    due(one)
    await one.run()
    assert (fetcher.asked, one.condition("ModelAvailable")["reason"]) == (1, "NotSeen")
    assert one.deployments.get(KEY).memory.fetches is None


async def test_a_fetch_that_failed_gives_its_last_words_once(one):
    await one.settle()
    waiting = {"reason": "CrashLoopBackOff", "message": "back-off 10s restarting failed container=fetch pod=x"}
    said = "12:00:00 manta fetch: hf://a/b: 404: there is no such model: check spec.model.uri"
    for stamp in ("12:00:00", "12:00:41"):
        last = {"terminated": {"exitCode": 3, "message": f"listing\n{said.replace('12:00:00', stamp)}\n"}}
        show(one, restartCount=3, state={"waiting": waiting}, lastState=last)
        await one.run()
    assert one.client.writes == {}
    told = one.condition("ModelAvailable")
    assert (told["status"], told["reason"]) == ("False", "NotFetched")
    assert "it last said: hf://a/b: 404: there is no such model: check spec.model.uri; check" in told["message"]
