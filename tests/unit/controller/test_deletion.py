"""In which order the children of a deleted LLMDeployment leave, and that it ends in any case."""

import asyncio
import time
from datetime import UTC, datetime, timedelta

import pytest
from one_deployment import KEY, OneDeployment

from manta_operator.controller import deletion
from manta_operator.controller.deletion import FINALIZER, Farewell
from manta_operator.controller.errors import Conflict, Forbidden


@pytest.fixture
def one(monkeypatch):
    monkeypatch.setattr(deletion, "LOOK_SECONDS", 0.01)
    one = OneDeployment()
    one.cluster.patch("LLMDeployment", *KEY, {"metadata": {"finalizers": [FINALIZER]}})
    return one


def pod(one, component):
    labels = {"app.kubernetes.io/managed-by": "manta", "manta.dev/deployment": "demo"}
    labels["app.kubernetes.io/component"] = component
    metadata = {"name": f"demo-{component}-x", "namespace": "default", "labels": labels}
    spec = {"containers": [{"name": "c", "image": "i"}], "nodeName": "n"}
    return one.cluster.create({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})


def ended(one, component):
    one.cluster.delete("Pod", "default", f"demo-{component}-x", grace_seconds=0)


async def serving(one):
    await one.settle()
    for component in ("router", "engine"):
        pod(one, component)
    one.cluster.delete("LLMDeployment", *KEY)
    one.hear()
    one.client.writes.clear()


async def leave(one):
    return asyncio.create_task(Farewell(one.client, one.store).run(one.deployments.get(KEY)))


async def heard(one, seconds=0.06):
    one.hear()
    await asyncio.sleep(seconds)


async def test_the_router_goes_first_and_the_groups_when_its_pods_are_gone(one):
    await serving(one)
    leaving = await leave(one)
    await heard(one)
    assert one.client.writes == {"delete Deployment": 1}
    await heard(one)
    assert one.client.writes == {"delete Deployment": 1}, "its pod is still there"
    ended(one, "router")
    await heard(one)
    assert one.client.writes == {"delete Deployment": 1, "delete StatefulSet": 1}
    await heard(one)
    assert not leaving.done(), "the engine drains"
    ended(one, "engine")
    await heard(one)
    await asyncio.wait_for(leaving, 1)
    assert one.cluster.find("Service", *KEY), "the rest is the garbage collector's"


async def test_an_object_is_held_before_anything_is_made_of_it_and_others_hold_it_too():
    one = OneDeployment()
    one.cluster.patch("LLMDeployment", *KEY, {"metadata": {"finalizers": ["somebody/else"]}})
    farewell = Farewell(one.client, one.store)
    body = one.cluster.get("LLMDeployment", *KEY)
    await farewell.hold(body)
    await farewell.hold(body)
    held = one.cluster.get("LLMDeployment", *KEY)["metadata"]["finalizers"]
    assert held == body["metadata"]["finalizers"] == ["somebody/else", FINALIZER]
    assert one.client.writes == {"merge LLMDeployment": 1}


async def test_what_cannot_be_held_is_left_to_kopf_which_does_not_see_the_finalizer():
    one = OneDeployment()
    stale = one.cluster.get("LLMDeployment", *KEY)
    one.cluster.patch("LLMDeployment", *KEY, {"metadata": {"finalizers": ["somebody/else"]}})
    one.client.refuse["LLMDeployment"] = Conflict("somebody has written since")
    await Farewell(one.client, one.store).hold(stale)
    assert FINALIZER not in stale["metadata"].get("finalizers", ())
    assert one.cluster.get("LLMDeployment", *KEY)["metadata"]["finalizers"] == ["somebody/else"]


async def test_no_pass_is_made_from_then_on(one):
    await serving(one)
    leaving = await leave(one)
    await heard(one)
    assert one.deployments.get(KEY).leaving
    leaving.cancel()


@pytest.mark.parametrize("finalizers", [[FINALIZER, "orphan"], ["somebody/else"]], ids=["orphaned", "released"])
async def test_children_that_are_to_stay_stay(one, finalizers):
    await one.settle()
    one.cluster.patch("LLMDeployment", *KEY, {"metadata": {"finalizers": finalizers}})
    await serving(one)
    await asyncio.wait_for(await leave(one), 1)
    assert one.client.writes == {}


async def test_orphans_stay_also_when_the_garbage_collector_was_faster(one):
    """It takes `orphan` off before our finalizer is; the watch of the children may still show us as their owner."""
    await one.settle()
    one.cluster.patch("LLMDeployment", *KEY, {"metadata": {"finalizers": [FINALIZER, "orphan"]}})
    await serving(one)
    await asyncio.wait_for(await leave(one), 1)
    one.cluster.patch("LLMDeployment", *KEY, {"metadata": {"finalizers": [FINALIZER]}})
    one.see()
    await asyncio.wait_for(await leave(one), 1)
    assert one.client.writes == {}


async def test_pods_of_orphans_are_not_waited_for(one):
    """An operator that starts when the children belong to nobody any more has not seen `orphan`."""
    await serving(one)
    for kind in ("Deployment", "StatefulSet"):
        for each in one.cluster.list(kind, "default"):
            one.cluster.patch(kind, "default", each["metadata"]["name"], {"metadata": {"ownerReferences": None}})
    one.hear()
    await asyncio.wait_for(await leave(one), 1)
    assert one.client.writes == {}


async def test_the_router_goes_first_also_when_it_is_late(one):
    """The operator was away for longer than draining may take."""
    await serving(one)
    order = []

    async def delete(api_version, kind, namespace, name, uid):
        order.append(kind)
        one.cluster.delete(kind, namespace, name, uid=uid)

    one.client.delete = delete
    entry = one.deployments.get(KEY)
    entry.body["metadata"]["deletionTimestamp"] = (datetime.now(UTC) - timedelta(days=1)).isoformat()
    await asyncio.wait_for(await leave(one), 2)
    assert order == ["Deployment", "StatefulSet"]


async def test_pods_of_a_lost_node_are_not_waited_for(one, monkeypatch):
    monkeypatch.setattr(deletion, "RETRY_SECONDS", 0.02)
    await serving(one)
    for name in ("m", "o"):  # and not n
        one.cluster.create({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}})
        ready = {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}
        one.cluster.patch_status("Node", None, name, {"status": {"conditions": [ready]}})
    leaving = await leave(one)
    for _ in range(10):
        await heard(one)
    assert leaving.done(), "the router's pod is on a node that is gone"
    assert one.client.writes["delete StatefulSet"] == 1


async def test_nodes_are_asked_for_after_the_pods_had_their_places(one, monkeypatch):
    monkeypatch.setattr(deletion, "RETRY_SECONDS", 0.02)
    began, asked = time.monotonic(), asyncio.get_running_loop().create_future()
    await serving(one)
    farewell = Farewell(one.client, one.store)

    async def nodes(since):
        if not asked.done():
            asked.set_result(since)

    monkeypatch.setattr(farewell._surroundings, "nodes", nodes)
    leaving = asyncio.create_task(farewell.run(one.deployments.get(KEY)))
    assert await asyncio.wait_for(asked, 30) >= began
    leaving.cancel()


async def test_children_of_a_successor_or_of_nobody_are_not_touched(one):
    await serving(one)
    for kind in ("Deployment", "StatefulSet"):
        for each in one.cluster.list(kind, "default"):
            one.cluster.patch(kind, "default", each["metadata"]["name"], {"metadata": {"ownerReferences": None}})
    for component in ("router", "engine"):
        ended(one, component)
    one.hear()
    await asyncio.wait_for(await leave(one), 1)
    assert one.client.writes == {}


async def test_it_ends_in_time_although_pods_never_go(one):
    await serving(one)
    entry = one.deployments.get(KEY)
    long_ago = datetime.now(UTC) - timedelta(seconds=60 + 2 * (60 + deletion.MARGIN_SECONDS) - 0.2)
    entry.body["metadata"]["deletionTimestamp"] = long_ago.isoformat()
    await asyncio.wait_for(await leave(one), 2)


@pytest.mark.parametrize(("replicas", "waits"), [(1, True), (0, False)], ids=["a replica comes", "none does"])
async def test_requests_that_wait_for_the_first_replica_get_it_where_it_still_comes(one, replicas, waits):
    zero = {"minReplicas": 0, "maxReplicas": 8, "scaleToZero": {"holdSeconds": 900}}
    one.change(replicas=replicas, autoscaling=zero)
    await serving(one)
    if not replicas:
        ended(one, "engine")
    entry = one.deployments.get(KEY)
    entry.body["metadata"]["deletionTimestamp"] = (datetime.now(UTC) - timedelta(seconds=600)).isoformat()
    leaving = await leave(one)
    await asyncio.sleep(0)  # it has read when it was deleted
    for _ in range(5):
        await heard(one)
    assert one.cluster.find("Deployment", "default", "demo-router") is None
    assert len(one.groups()) == replicas
    assert leaving.done() != waits
    ended(one, "router")
    for _ in range(3):
        await heard(one)
    assert one.groups() == []
    if replicas:
        ended(one, "engine")
    one.hear()
    await asyncio.wait_for(leaving, 5)


async def test_what_may_not_be_deleted_is_tried_and_told_once(one, monkeypatch, caplog):
    monkeypatch.setattr(deletion, "RETRY_SECONDS", 0.02)
    await serving(one)

    async def refuse(*_):
        one.client.writes["tried"] += 1
        raise Forbidden("delete: no")

    monkeypatch.setattr(one.client, "delete", refuse)
    leaving = await leave(one)
    await asyncio.sleep(0.2)
    assert one.client.writes["tried"] > 2
    assert caplog.text.count("delete: no") == 1
    leaving.cancel()
