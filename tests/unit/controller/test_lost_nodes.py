"""Nodes that fall silent, as passes see them: who is replaced, when it is looked again, and what waits meanwhile."""

import asyncio
import time

import pytest
from one_deployment import KEY, OneDeployment

from manta_operator.controller import loop as loops
from manta_operator.controller import observing
from manta_operator.controller.loop import Loop
from manta_operator.controller.rhythm import Rhythm
from manta_operator.controller.statuses import timestamp

NODES = ("n", "b", "c")


def tell(one, name, *, ready, ago=0.0):
    told = {
        "type": "Ready",
        "status": "True" if ready else "Unknown",
        "lastTransitionTime": timestamp(time.time() - ago),
    }
    amounts = {"cpu": "64", "memory": "512Gi", "pods": "110"}
    one.cluster.patch_status("Node", None, name, {"status": {"allocatable": amounts, "conditions": [told]}})


@pytest.fixture
async def one():
    """The replica's pod, on node n, has not been ready for long."""
    one = OneDeployment()
    for name in NODES:
        one.cluster.create({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}, "spec": {}})
        tell(one, name, ready=True)
    await one.settle()
    [group] = one.groups()
    one.pod(group)
    since = timestamp(time.time() - 100)
    ready = {"type": "Ready", "status": "False", "lastTransitionTime": since}
    one.pod(group, phase="Running", startTime=since, conditions=[ready])
    return one


async def test_a_node_that_is_well_is_looked_at_again_before_it_could_count_as_lost(one):
    outcome = await one.run()
    assert one.client.reads["list Node"] == 1
    assert outcome.pause <= observing.LOOK_AGAIN_SECONDS


async def test_a_node_that_is_away_is_looked_at_again_when_it_counts_as_lost(one):
    tell(one, "n", ready=False, ago=250)
    [before] = one.groups()
    outcome = await one.run()
    assert one.groups() == [before]
    assert 40 < outcome.pause <= 50


@pytest.mark.parametrize(("away", "replaced"), [(("n",), True), (("n", "b"), False), (NODES, False)])
async def test_a_lost_node_is_replaced_unless_most_are(one, away, replaced):
    for name in away:
        tell(one, name, ready=False, ago=301)
    [before] = one.groups()
    await one.settle()
    names = {each["metadata"]["name"] for each in one.groups()}
    assert (before["metadata"]["name"] not in names) is replaced
    assert len(names) == 1


async def test_a_node_that_is_younger_than_the_list_of_nodes_is_not_gone(one):
    await one.run()
    assert one.client.reads["list Node"] == 1
    one.cluster.create({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "new"}, "spec": {}})
    tell(one, "new", ready=True)
    [group] = one.groups()
    [old] = one.cluster.list("Pod", "default")
    one.cluster.delete("Pod", "default", old["metadata"]["name"], grace_seconds=0)
    kept = {key: old["metadata"][key] for key in ("name", "namespace", "labels", "ownerReferences")}
    successor = {"apiVersion": "v1", "kind": "Pod", "metadata": kept, "spec": old["spec"] | {"nodeName": "new"}}
    one.cluster.create(successor)
    one.hear()
    one.cluster.delete("Pod", "default", kept["name"])
    await one.run()
    assert one.client.reads["list Node"] == 1, "the first list is older than the place of the pod that ends"
    assert one.groups() == [group], "the pod's node is there"
    await one.run()
    assert one.client.reads["list Node"] == 0, "the second list is young enough"


async def test_who_waits_for_nodes_holds_nobody_up(one, monkeypatch):
    monkeypatch.setattr(loops, "PASSES_AT_ONCE", 1)
    gate, list_ = asyncio.Event(), one.client.list

    async def hangs(api_version, kind, *more):
        await gate.wait() if kind == "Node" else None
        return await list_(api_version, kind, *more)

    monkeypatch.setattr(one.client, "list", hangs)
    one.hear()
    loop = Loop(one.reconciler, one.store, Rhythm(600))
    task = asyncio.create_task(loop.run(one.deployments.get(KEY)))
    await asyncio.sleep(0.1)
    assert not loop._turns.locked()
    gate.set()
    tell(one, "n", ready=False, ago=301)
    [before] = one.groups()
    for _ in range(200):
        await asyncio.sleep(0.01)
        if before not in one.groups():
            break
    assert before not in one.groups()
    task.cancel()


@pytest.mark.parametrize("gone", [False, True])
async def test_a_survey_has_to_be_younger_than_the_end_of_a_pod_of_ours(one, gone, monkeypatch):
    asked = []
    monkeypatch.setattr(one.reconciler._surroundings, "room", lambda template, size, since: asked.append(since))
    [pod] = one.cluster.list("Pod", "default")
    one.pod(one.groups()[0])
    one.change(engine={"maxModelLen": 512})
    one.hear()
    began = time.monotonic()
    if gone:
        one.store.remove("Pod", "default", pod["metadata"]["name"], pod["metadata"]["uid"])
    await one.run()
    assert [since >= began for since in asked] == [gone]


async def test_a_survey_has_to_be_younger_than_the_place_of_a_pod_of_ours(one, monkeypatch):
    asked = []
    monkeypatch.setattr(one.reconciler._surroundings, "room", lambda template, size, since: asked.append(since))
    one.pod(one.groups()[0])
    one.change(engine={"maxModelLen": 512})
    began = time.monotonic()
    one.hear()
    await one.run()
    assert [since >= began for since in asked] == [True]
