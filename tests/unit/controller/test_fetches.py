"""Pods that fetch their model are asked how far they are, and the status says so, but not every time."""

from dataclasses import replace

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from one_deployment import KEY, OneDeployment

from manta_operator.api import names
from manta_operator.controller import fetches
from manta_operator.planning.fetching import TELL_SECONDS

FETCH = {"name": "fetch", "image": "i", "imageID": "", "ready": False, "restartCount": 0}
RUNS = {"running": {"startedAt": "2026-01-01T00:00:00Z"}}


class Fetcher:
    """Stands for `manta-runtime fetch`: answers what it is told to, and counts."""

    def __init__(self):
        self.asked, self.status = 0, 200
        self.answer = {
            "state": "fetching",
            "total": 4 * 2**30,
            "bytes_per_s": 2e8,
            "seconds_left": 9,
            "waiting_for": "",
        }

    async def handle(self, _):
        self.asked += 1
        return web.json_response(self.answer, status=self.status)

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
    return made


def show(one, **state):
    (group,) = one.groups()
    one.pod(group, phase="Pending", podIP="127.0.0.1", initContainerStatuses=[FETCH | state])


def due(one):
    """It is time to ask again."""
    one.deployments.get(KEY).memory.ask_again = 0.0


async def test_the_status_says_how_far_the_fetch_is(one):
    outcome = await one.run()
    told = one.condition("ModelAvailable")
    assert (told["status"], told["reason"]) == ("Unknown", "Fetching")
    (group,) = one.groups()
    assert told["message"] == f"1.0 of 4.0 GiB (25 %), 200 MB/s, about 9 s left; pod {group['metadata']['name']}-0"
    assert one.condition("Ready")["message"] == told["message"]
    assert fetches.AGAIN_SECONDS - 1 < outcome.pause <= fetches.AGAIN_SECONDS
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
    outcome = await one.run()
    assert one.condition("ModelAvailable")["message"].startswith("the model is fetched; how far it is, is not known")
    assert 0 < outcome.pause <= fetches.SOON_SECONDS
    due(one)
    outcome = await one.run()
    assert fetches.SOON_SECONDS < outcome.pause <= fetches.AGAIN_SECONDS, "whom it cannot reach it does not pester"


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
