"""Heads are asked once what their engines chose, when they are ready, and again when they were restarted."""

import asyncio
import time

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from make import TINY
from one_deployment import KEY, OneDeployment

from manta_operator.api import names
from manta_operator.controller import engine_facts, metrics

ENGINE = {"name": "engine", "image": "i", "imageID": "", "ready": True}
READY = {"type": "Ready", "status": "True", "lastTransitionTime": "2020-01-01T00:00:00Z"}
NOT_READY = READY | {"status": "False"}


class Head:
    """Stands for the launcher's control port: answers what it is told to, and counts."""

    def __init__(self):
        self.asked, self.status, self.often = 0, 200, asyncio.Event()
        self.answer = {"version": "0.32.0", "attentionBackend": "CPU_ATTN", "kvCacheTokens": 65536}

    async def handle(self, _):
        self.asked += 1
        if self.asked == 3:
            self.often.set()
        if isinstance(self.answer, str):
            return web.Response(text=self.answer)
        return web.json_response(self.answer, status=self.status)


@pytest.fixture
async def head(monkeypatch):
    made = Head()
    application = web.Application()
    application.router.add_get("/facts", made.handle)
    async with TestServer(application) as server:
        monkeypatch.setattr(names, "CONTROL_PORT", server.port)
        yield made


@pytest.fixture
async def one(head):
    """One replica, whose head is ready."""
    made = OneDeployment()
    await made.settle()
    show(made, READY)
    yield made
    await made.reconciler.close()


def show(one, condition, restarts=0):
    (group,) = one.groups()
    containers = [ENGINE | {"restartCount": restarts, "state": {"running": {"startedAt": "2020-01-01T00:00:00Z"}}}]
    started = {"phase": "Running", "startTime": "2020-01-01T00:00:00Z", "podIP": "127.0.0.1"}
    one.pod(group, **started, conditions=[condition], containerStatuses=containers)
    name = f"{group['metadata']['name']}-0"
    one.cluster.patch("Pod", "default", name, {"metadata": {"labels": {names.LABEL_POD_INDEX: "0"}}})


def due(one):
    """It is time to ask again."""
    one.deployments.get(KEY).memory.again["/facts"] = 0.0


def engine(one):
    return one.cluster.get("LLMDeployment", *KEY)["status"].get("engine")


async def test_the_status_says_what_the_engine_chose(one, head):
    await one.run()
    assert engine(one) == head.answer | {"replicas": 1}
    told = one.condition("EngineAsPlanned")
    assert (told["status"], told["reason"]) == ("True", "AsPlanned")
    assert told["message"] == "vLLM 0.32.0, attention CPU_ATTN, KV cache 65536 tokens"


def counted():
    """How many errors of predicted tokens were counted: all of them, and those up to a half."""
    found = []
    for bound in ("+Inf", "0.5"):
        labels = {"quantity": "tokens", "le": bound}
        found.append(metrics.REGISTRY.get_sample_value("manta_fit_error_ratio_bucket", labels) or 0)
    return found


async def test_an_error_of_the_prediction_is_counted_once(head):
    one = OneDeployment(facts=lambda _: TINY)
    await one.settle()
    show(one, READY)
    predicted = one.cluster.get("LLMDeployment", *KEY)["status"]["fit"]["predicted"]["kvCacheTokens"]
    head.answer = {"version": "0.32.0", "kvCacheTokens": 2 * predicted}
    every, small = counted()
    for _ in range(3):
        due(one)
        await one.run()
    assert counted() == [every + 1, small]
    assert metrics.REGISTRY.get_sample_value("manta_deployments_fit", {"fits": "True"}) >= 1
    assert "+100% of" in one.condition("EngineAsPlanned")["message"]
    await one.reconciler.close()


async def test_what_the_engine_holds_stands_in_the_status_and_is_not_forgotten(one, head):
    head.answer |= {"modelGiB": 15.5, "kvCacheGiB": 40.0, "graphsGiB": 0.5, "maxConcurrency": 8.0}
    await one.run()
    fit = one.cluster.get("LLMDeployment", *KEY)["status"]["fit"]
    assert fit["actual"] == {
        "weightsPerRank": round(15.5 * 2**30),
        "graphsPerRank": 2**29,
        "kvCachePerRank": 40 * 2**30,
        "kvCacheTokens": 65536,
        "concurrency": 8.0,
    }
    show(one, NOT_READY, restarts=1)
    await one.run()
    assert one.cluster.get("LLMDeployment", *KEY)["status"]["fit"] == fit, "a replica that restarts forgets nothing"


async def test_a_head_that_has_answered_is_left_alone(one, head):
    for _ in range(3):
        due(one)
        await one.run()
    assert head.asked == 1


async def test_a_head_that_is_not_ready_is_not_asked(one, head):
    show(one, NOT_READY)
    await one.run()
    assert (head.asked, engine(one)) == (0, None)


async def test_after_a_restart_it_is_asked_again_and_may_say_something_else(one, head):
    await one.run()
    head.answer = head.answer | {"attentionBackend": "CPU_MLA"}
    show(one, READY, restarts=1)
    await one.run()
    assert head.asked == 2
    assert engine(one) == head.answer | {"replicas": 1}


@pytest.mark.parametrize("answer", ["[" * 16000, "{", "", "[]", "x" * 20000], ids=str.__len__)
async def test_no_answer_is_asked_for_again_but_not_at_once(one, head, answer):
    head.answer = answer
    await one.run()
    await one.run()
    assert (head.asked, engine(one)) == (1, None)
    due(one)
    await one.run()
    assert head.asked == 2
    memory = one.deployments.get(KEY).memory
    assert memory.engines_pause == 2 * engine_facts.AGAIN_SECONDS
    for _ in range(9):
        due(one)
        await one.run()
    assert memory.engines_pause == engine_facts.SELDOM_SECONDS


async def test_while_nobody_answers_the_loop_is_not_woken_and_then_it_is(one, head, monkeypatch):
    monkeypatch.setattr(engine_facts, "AGAIN_SECONDS", 0.05)
    head.status = 500
    await one.run()
    entry = one.deployments.get(KEY)
    entry.flag.clear()
    asking = asyncio.create_task(one.reconciler.attend(entry))
    await asyncio.wait_for(head.often.wait(), 60)
    assert not entry.flag.is_set()
    head.status = 200
    await asyncio.wait_for(asking, 60)
    assert entry.flag.is_set()
    await one.run()
    assert engine(one)["attentionBackend"] == "CPU_ATTN"


async def test_what_was_said_goes_with_the_pod(one):
    await one.run()
    (group,) = one.groups()
    one.cluster.delete("Pod", "default", f"{group['metadata']['name']}-0")
    await one.run()
    assert one.deployments.get(KEY).memory.engines == {}
    conditions = one.cluster.get("LLMDeployment", *KEY)["status"]["conditions"]
    assert "EngineAsPlanned" not in [each["type"] for each in conditions]


async def test_a_bug_in_the_asking_ends_no_loop(one, monkeypatch, caplog):
    def read(_):
        raise OverflowError("a bug")

    monkeypatch.setattr(engine_facts, "read_facts", read)
    await one.run()
    assert "what its engines have chosen is not known" in caplog.text
    assert engine(one) is None
    assert one.deployments.get(KEY).memory.again["/facts"] > time.monotonic(), "nor is it asked without a pause"
