"""Restarts, evictions and what lies around a deployment, as the requests that are made."""

import json
import time

import pytest
from aiohttp import web
from one_deployment import OneDeployment

from manta_operator.api import names
from manta_operator.controller import surroundings
from manta_operator.controller.errors import Forbidden, Transient
from manta_operator.controller.statuses import timestamp


@pytest.fixture
def one():
    return OneDeployment()


@pytest.fixture
def later(monkeypatch):
    """An hour has passed."""
    now = time.time() + 3600
    monkeypatch.setattr("manta_operator.controller.observing.time.time", lambda: now)
    monkeypatch.setattr("manta_operator.controller.observing.timestamp", lambda: timestamp(now))


def node(one, cpu):
    one.cluster.create({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n"}, "spec": {}})
    given = {"allocatable": {"cpu": cpu, "pods": "110"}, "conditions": [{"type": "Ready", "status": "True"}]}
    one.cluster.patch_status("Node", None, "n", {"status": given})


async def hung(one):
    """A group whose only pod runs and does not serve; return group and pod."""
    node(one, "8")
    await one.settle()
    [group] = one.groups()
    return group, one.pod(group, phase="Running")


async def test_a_restart_is_written_down_before_the_pod_is_deleted(one, later):
    group, pod = await hung(one)
    one.client.sent.clear()
    await one.run()
    note, gone = [each for each in one.client.sent if each[1] != "manta"]
    verb, manager, document = note
    metadata = document["metadata"]
    assert (verb, manager, document["kind"]) == ("apply", "manta-health", "StatefulSet")
    assert metadata["uid"] == group["metadata"]["uid"], "so it makes no group that is gone"
    assert set(document) == {"apiVersion", "kind", "metadata"}
    assert json.loads(metadata["annotations"][names.ANNOTATION_RESTART])["count"] == 1
    assert gone == ("delete", pod["metadata"]["name"], pod["metadata"]["uid"])


async def test_what_was_written_down_and_not_done_is_done_by_the_next_pass(one, later, monkeypatch):
    """A crash between the two writes."""
    _, pod = await hung(one)

    async def die(*_):
        raise Transient("delete: away")

    with monkeypatch.context() as patch:
        patch.setattr(one.client, "delete", die)
        await one.run()
    assert one.condition("Reconciled")["reason"] == "Transient"
    one.client.sent.clear()
    await one.run()
    assert [each[:2] for each in one.client.sent if each[1] == "manta-health"] == [], "counted once"
    assert ("delete", pod["metadata"]["name"], pod["metadata"]["uid"]) in one.client.sent


async def test_nothing_is_deleted_while_it_cannot_be_written_down(one, later):
    await hung(one)
    one.client.refuse["StatefulSet"] = Forbidden("apply StatefulSet: no")
    await one.run()
    assert one.client.writes["delete Pod"] == 0


async def test_an_evicted_pod_is_not_deleted_twice_although_the_store_lags(one, later):
    await hung(one)
    await one.run()
    assert one.client.writes["delete Pod"] == 1
    one.see()
    await one.run(hear=False)
    assert one.client.writes["delete Pod"] == 0


@pytest.mark.parametrize(("cpu", "groups"), [("8", 2), ("4", 1)], ids=["room for another", "none"])
async def test_a_rollout_surges_where_the_nodes_have_room(one, cpu, groups):
    node(one, cpu)
    one.change(engine={"resources": {"cpu": "4"}})
    await one.settle()
    one.pod(one.groups()[0])
    await one.settle()
    one.change(engine={"maxModelLen": 512})
    await one.run()
    assert (one.client.reads["list Node"], one.client.reads["list Pod"]) == (1, 1)
    assert len(one.groups()) == groups
    if groups == 1:
        assert "place for" in one.condition("Progressing")["message"]


async def test_without_the_right_to_see_nodes_a_rollout_tries(one):
    one.client.refuse["Node"] = Forbidden("list nodes: no")
    one.change(engine={"resources": {"cpu": "4"}})
    await one.settle()
    one.pod(one.groups()[0])
    one.change(engine={"maxModelLen": 512})
    await one.settle()
    assert len(one.groups()) == 2


@pytest.fixture
async def pickers(monkeypatch):
    """Routers by address, each answering /loads with what the test puts in: a document, or a status."""
    answers, runners, port = {}, [], 0

    async def serve(address, answer):
        nonlocal port

        async def loads(_):
            return web.Response(status=answer) if isinstance(answer, int) else web.json_response(answer)

        app = web.Application()
        app.router.add_get("/loads", loads)
        runners.append(web.AppRunner(app))
        await runners[-1].setup()
        await web.TCPSite(runners[-1], address, port).start()
        port = runners[-1].addresses[0][1]
        monkeypatch.setattr(names, "PICKER_PORT", port)
        answers[address] = answer

    monkeypatch.setattr(surroundings, "LOADS_SECONDS", 0.5)
    yield serve
    for runner in runners:
        await runner.cleanup()


def router(one, address):
    labels = names.common_labels("demo", names.COMPONENT_ROUTER)
    metadata = {"name": f"demo-router-{address.replace('.', '-')}", "namespace": "default", "labels": labels}
    spec = {"nodeName": "n", "containers": [{"name": "c", "image": "i"}]}
    one.cluster.create({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
    one.cluster.patch_status("Pod", "default", metadata["name"], {"status": {"podIP": address}})


@pytest.mark.parametrize(
    ("second", "gone"),
    [({"0": 1, "1": 3, "2": 5}, 0), ({"0": 9, "1": 0, "2": 5}, 1), (503, 2), (["nonsense"], 2), (None, 2)],
    ids=["the first", "the second", "refuses", "nonsense", "silent"],
)
async def test_the_least_loaded_of_all_routers_together_leaves(one, pickers, second, gone):
    """Where a router does not tell, the youngest leaves."""
    one.change(replicas=3)
    await one.settle()
    groups = [each["metadata"]["name"] for each in one.groups()]
    for group in one.groups():
        one.pod(group)

    def named(loads):
        return {groups[int(n)]: load for n, load in loads.items()} if isinstance(loads, dict) else loads

    await pickers("127.0.0.1", named({"0": 1, "1": 1, "2": 1}))
    if second is not None:
        await pickers("127.0.0.2", named(second))
    for address in ("127.0.0.1", "127.0.0.2"):
        router(one, address)
    await one.settle()
    one.change(replicas=2)
    await one.run()
    left = [each["metadata"]["name"] for each in one.groups()]
    assert [name for name in groups if name not in left] == [groups[gone]]
