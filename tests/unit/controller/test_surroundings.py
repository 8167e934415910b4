"""What lies around a deployment: asked for a page at a time, shared, and not kept."""

import asyncio
import gc
import time
import weakref

import pytest

from manta_operator.controller import surroundings as module
from manta_operator.controller.errors import Forbidden
from manta_operator.controller.surroundings import NotYet, Surroundings

TEMPLATE = {"spec": {"containers": [{"resources": {"requests": {"cpu": "4"}}}]}}


class Page(dict):
    """A body that can be watched going away."""


def node(name):
    ready = {"type": "Ready", "status": "True", "message": "x" * 100}
    status = {"allocatable": {"cpu": "8", "pods": "110"}, "conditions": [ready], "images": ["x"] * 50}
    return Page({"metadata": {"name": name, "labels": {}}, "spec": {}, "status": status})


def pod(name, on, cpu="4"):
    containers = [{"resources": {"requests": {"cpu": cpu}}}]
    return Page({"metadata": {"name": name}, "spec": {"nodeName": on, "containers": containers}, "status": {}})


class Server:
    """Two nodes a page; notes what was asked for, and how many bodies are alive whenever a page is asked for."""

    def __init__(self):
        self.nodes = [node(f"n{number}") for number in range(4)]
        self.pods = [pod(f"p{number}", f"n{number}") for number in range(4)]
        self.asked, self.alive, self.most = [], weakref.WeakValueDictionary(), 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.refuses = ()

    async def pages(self, api_version, kind):
        self.asked.append(kind)
        if kind in self.refuses:
            raise Forbidden(f"list {kind}: no")
        bodies = list(self.nodes if kind == "Node" else self.pods)
        await self.gate.wait()
        for start in range(0, len(bodies), 2):
            yield [self._sent(body) for body in bodies[start : start + 2]], "1"

    def _sent(self, body):
        self.most = max(self.most, len(self.alive))
        copy = Page(body)
        self.alive[id(copy)] = copy
        return copy


async def room(around, *question):
    while True:
        try:
            return around.room(*question)
        except NotYet as wait:
            await asyncio.wait({wait.gathered})


@pytest.fixture
def server():
    return Server()


@pytest.fixture
def around(server, monkeypatch):
    monkeypatch.setattr(module, "FRESH_SECONDS", 0.05)
    return Surroundings(server)


async def test_room_is_what_all_pages_leave(server, around):
    server.pods += [pod("late", "n3"), pod("elsewhere", "gone")]
    assert (await room(around, TEMPLATE, 1)).groups == 3
    assert server.asked == ["Node", "Pod"]


async def test_one_list_of_nodes_serves_both_questions_and_everybody(server, around):
    asking = [around.nodes(), room(around, TEMPLATE, 1), around.nodes(), room(around, TEMPLATE, 2)]
    nodes, *_ = await asyncio.gather(*asking)
    assert [each["metadata"]["name"] for each in nodes] == ["n0", "n1", "n2", "n3"]
    assert server.asked == ["Node", "Pod"]


async def test_no_more_than_a_page_of_bodies_is_alive(server, around):
    server.nodes, server.pods = server.nodes * 10, server.pods * 10
    nodes = await around.nodes()
    await room(around, TEMPLATE, 1)
    assert server.most <= 4, "a page that is read, and one that comes"
    gc.collect()
    assert not server.alive
    assert "images" not in nodes[0]["status"]


async def test_answers_are_dropped_when_they_are_stale(server, around):
    await room(around, TEMPLATE, 1)
    await asyncio.sleep(0.08)
    assert around._nodes._held is None
    assert around._spaces._held is None
    await around.nodes()
    assert server.asked == ["Node", "Pod", "Node"]


async def test_an_answer_is_fresh_from_when_it_is_there(server, around):
    server.gate.clear()
    asking = asyncio.create_task(around.nodes())
    await asyncio.sleep(0.08)
    server.gate.set()
    await asking
    await around.nodes()
    assert server.asked == ["Node"]


async def test_a_place_that_was_freed_after_a_survey_began_is_seen_by_another(server, around):
    assert (await room(around, TEMPLATE, 1)).groups == 4
    server.gate.clear()
    another = asyncio.create_task(room(around, TEMPLATE, 1, time.monotonic()))
    await asyncio.sleep(0.01)
    del server.pods[0]
    freed = time.monotonic()
    waiting = asyncio.create_task(room(around, TEMPLATE, 1, freed))
    await asyncio.sleep(0.01)
    server.gate.set()
    assert (await waiting).groups == 5
    assert (await another).groups == 4
    asked = list(server.asked)
    assert (await room(around, TEMPLATE, 1, freed)).groups == 5
    assert server.asked == asked, "what is younger than that is good enough"


async def test_what_may_not_be_asked_is_not_known_and_not_asked_again_at_once(server, around):
    server.refuses = ("Node",)
    assert await around.nodes() is None
    assert await room(around, TEMPLATE, 1) is None
    assert server.asked == ["Node"]
    server.refuses = ("Pod",)
    await asyncio.sleep(0.08)
    assert await around.nodes() is not None
    assert await room(around, TEMPLATE, 1) is None


async def test_one_who_no_longer_waits_takes_the_answer_from_nobody(server, around):
    server.gate.clear()
    first, second = asyncio.create_task(around.nodes()), asyncio.create_task(around.nodes())
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.sleep(0)
    server.gate.set()
    assert len(await second) == 4


async def test_a_bug_is_told_to_who_asks(server, around):
    server.pods.append(pod("odd", "n0", cpu="a lot"))
    with pytest.raises(ValueError, match="a lot"):
        await room(around, TEMPLATE, 1)
    assert len(await around.nodes()) == 4
