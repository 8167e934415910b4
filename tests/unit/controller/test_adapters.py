"""The heads are asked which adapters they have, and the status says so; nothing that they answer ends a loop."""

import asyncio
import time

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from one_deployment import KEY, OneDeployment

from manta_operator.api import names
from manta_operator.controller import adapters
from manta_operator.controller.loop import Loop
from manta_operator.controller.rhythm import Rhythm

SQL = {"name": "sql", "uri": "hf://org/sql", "revision": "v1"}
LOADED = {"name": "sql", "uri": "hf://org/sql", "revision": "v1", "state": "Loaded", "message": ""}
WORDS = "Loading lora sql failed: LoRA rank 64 is greater than max_lora_rank 16."
NESTED = "[" * 16000


class Head:
    """Stands for the launcher of a head: answers what it is told to, and counts."""

    def __init__(self):
        self.asked, self.status, self.listed, self.text = 0, 200, [LOADED], None

    async def handle(self, _):
        self.asked += 1
        if self.text is not None:
            return web.Response(text=self.text)
        return web.json_response({"hash": "0" * 12, "adapters": self.listed}, status=self.status)


@pytest.fixture
async def head(monkeypatch):
    made = Head()
    application = web.Application()
    application.router.add_get("/adapters", made.handle)
    async with TestServer(application) as server:
        monkeypatch.setattr(names, "CONTROL_PORT", server.port)
        yield made


@pytest.fixture
async def one(head):
    """One replica that serves, of a deployment that wants one adapter."""
    made = OneDeployment()
    want(made, [SQL])
    await made.settle()
    serve(made)
    yield made
    await made.reconciler.close()


def serve(one):
    """The head of the first group serves, as the StatefulSet controller labels it."""
    group, *_ = one.groups()
    ready = {"type": "Ready", "status": "True", "lastTransitionTime": "2020-01-01T00:00:00Z"}
    one.pod(group, phase="Running", podIP="127.0.0.1", startTime="2020-01-01T00:00:00Z", conditions=[ready])
    labels = {names.LABEL_POD_INDEX: "0"}
    one.cluster.patch("Pod", "default", f"{group['metadata']['name']}-0", {"metadata": {"labels": labels}})


def want(one, listed):
    one.change(model={"adapters": listed})


def status(one):
    return one.cluster.get("LLMDeployment", *KEY)["status"]


def due(one):
    """It is time to ask again."""
    one.deployments.get(KEY).memory.again["/adapters"] = 0.0


def again_in(one):
    return one.deployments.get(KEY).memory.again["/adapters"] - time.monotonic()


def told(one):
    condition = one.condition("AdaptersLoaded")
    return condition["status"], condition["reason"]


async def test_the_status_has_each_adapter_on_each_replica(one):
    await one.run()
    (group,) = one.groups()
    row = {"replica": 0, "pod": f"{group['metadata']['name']}-0", "state": "Loaded"}
    assert status(one)["adapters"] == [{"name": "sql", "loaded": 1, "replicas": [row]}]
    assert told(one) == ("True", "AllLoaded")
    assert adapters.AGAIN_SECONDS < again_in(one) <= adapters.SETTLED_SECONDS


async def test_a_failure_is_told_once_and_leaves_the_model_alone(one, head):
    await one.settle()
    head.listed = [LOADED | {"state": "Failed", "message": WORDS}]
    for _ in range(2):
        due(one)
        await one.run()
    assert told(one) == ("False", "AdapterFailed")
    assert WORDS in one.condition("AdaptersLoaded")["message"]
    assert one.condition("Degraded")["reason"] == "Sound"
    assert one.condition("Ready")["reason"] != "AdapterFailed"
    assert [event["type"] for event in one.client.events if event["reason"] == "AdapterFailed"] == ["Warning"]
    assert 0 < again_in(one) <= adapters.AGAIN_SECONDS


@pytest.mark.parametrize("field", ["name", "uri", "revision", "message", "state"])
async def test_what_has_no_encoding_is_left_out_and_stops_no_status(one, head, field):
    odd = LOADED | {"state": "Failed", "message": WORDS}
    head.listed = [odd | {field: f"{odd[field]} \ud800\x1b[2J"}]
    await one.run()
    reason = {"name": "Loading", "uri": "Loading", "revision": "Loading", "state": "NotKnown"}.get(
        field, "AdapterFailed"
    )
    assert told(one)[1] == reason
    text = str(status(one))
    assert "\\ud800" not in text
    assert "\\x1b" not in text


async def test_an_address_that_is_cleaned_is_still_the_one_that_is_asked_for(one, head):
    odd = {"uri": "file:///mnt/a\u200bb\xa0c/sql"}
    want(one, [SQL | odd | {"revision": None}])
    head.listed = [LOADED | odd | {"revision": None}]
    await one.run()
    assert told(one) == ("True", "AllLoaded")
    assert again_in(one) > adapters.AGAIN_SECONDS


async def test_a_new_list_is_asked_about_at_once(one, head):
    await one.settle()
    before = head.asked
    await one.run()
    assert head.asked == before, "it is settled"
    want(one, [SQL | {"revision": "v2"}])
    await one.run()
    assert (head.asked, told(one)) == (before + 1, ("False", "Loading"))
    assert "still has hf://org/sql v1" in one.condition("AdaptersLoaded")["message"]


async def test_without_adapters_nobody_is_asked_and_nothing_is_said(one, head):
    await one.settle()
    want(one, [])
    await one.settle()
    before = head.asked
    due(one)
    await one.run()
    assert head.asked == before
    assert status(one)["adapters"] == []
    assert "AdaptersLoaded" not in {each["type"] for each in status(one)["conditions"]}


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (500, None),
        (404, None),
        (302, None),
        (200, NESTED),
        (200, "{"),
        (200, '{"adapters": [1]}'),
        (200, "x" * 600_000),
    ],
    ids=["500", "404", "302", "nested", "half", "odd", "long"],
)
async def test_no_answer_is_said_and_ends_nothing(one, head, status, text):
    head.status, head.text = status, text
    await one.run()
    assert told(one) == ("Unknown", "NotKnown")
    assert one.condition("Available")["reason"] in ("Serving", "NotServing")
    assert 0 < again_in(one) <= adapters.AGAIN_SECONDS


async def test_a_bug_in_the_asking_ends_no_loop(one, monkeypatch, caplog):
    def hear(*_):
        raise OverflowError("too large")

    monkeypatch.setattr(adapters, "hear", hear)
    await one.run()
    assert "which adapters are loaded is not known" in caplog.text
    assert again_in(one) > 0, "nor is it asked without a pause"


@pytest.mark.parametrize(
    "spec", [{}, {"model": None}, {"model": {}}, {"model": {"adapters": 7}}, {"model": {"adapters": ["x"]}}], ids=str
)
def test_what_no_schema_has_admitted_wants_nothing(spec):
    assert adapters.wanted({"spec": spec}) == adapters.wanted({}) == ()


async def test_news_wakes_the_loop(one, head, monkeypatch):
    monkeypatch.setattr(adapters, "AGAIN_SECONDS", 0.02)
    head.listed = [LOADED | {"state": "Fetching", "bytes": 1, "total": 4}]
    await one.settle()
    assert told(one) == ("False", "Loading")
    seen, run = asyncio.Event(), one.reconciler.run

    async def watched(entry):
        outcome = await run(entry)
        if told(one) == ("True", "AllLoaded"):
            seen.set()
        one.see()
        return outcome

    monkeypatch.setattr(one.reconciler, "run", watched)
    entry = one.deployments.get(KEY)
    task = asyncio.create_task(Loop(one.reconciler, one.store, Rhythm(600)).run(entry))
    head.listed = [LOADED]
    try:
        await asyncio.wait_for(seen.wait(), 60)
    finally:
        entry.end()
        await asyncio.wait_for(task, 60)


async def test_the_list_stays_for_the_pods_that_read_it(one):
    """Replicas of before go on with their adapters until they are gone, although new ones take none."""
    await one.settle()
    want(one, [])
    await one.settle()
    assert one.cluster.find("ConfigMap", "default", "demo-adapters") is not None
    for each in one.cluster.list("Pod", "default"):
        one.cluster.delete("Pod", "default", each["metadata"]["name"], grace_seconds=0)
    await one.settle()
    assert one.cluster.find("ConfigMap", "default", "demo-adapters") is None
