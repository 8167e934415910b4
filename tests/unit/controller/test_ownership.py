"""Foreign objects are left alone, ours that lost their way are taken up again."""

import asyncio

import pytest
from one_deployment import KEY, OneDeployment
from operator_world import CHILD_KINDS

from manta_operator.controller import ownership

SERVICE = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "demo", "namespace": "default"},
    "spec": {"selector": {"app": "old"}, "ports": [{"port": 80}]},
}
GROUP = {
    "apiVersion": "apps/v1",
    "kind": "StatefulSet",
    "metadata": {
        "name": "demo-old",
        "namespace": "default",
        "labels": {"manta.dev/deployment": "demo", "manta.dev/revision": "0", "manta.dev/replica": "9"},
    },
    "spec": {
        "serviceName": "x",
        "selector": {"matchLabels": {"a": "b"}},
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}},
    },
}


@pytest.fixture
def one():
    return OneDeployment()


async def test_an_object_of_somebody_else_is_refused(one):
    made = one.cluster.create(SERVICE)
    await one.run()
    assert one.cluster.get("Service", "default", "demo") == made
    reconciled = one.condition("Reconciled")
    assert reconciled["reason"] == "NotOwned"
    assert "Service default/demo exists already and belongs to nobody" in reconciled["message"]


async def test_names_are_asked_for_once_a_kind_and_nothing_is_read_one_by_one(one):
    await one.run()
    kinds = {"ServiceAccount", "Role", "RoleBinding", "ConfigMap", "Service", "StatefulSet", "Deployment"}
    kinds |= {"PodDisruptionBudget", "NetworkPolicy"}
    assert one.client.reads == {f"names of {kind}": 1 for kind in kinds}


async def test_a_child_of_another_deployment_is_refused_without_a_read(one):
    await one.run()
    metadata = {"name": "demo", "namespace": "default", "ownerReferences": []}
    other = {"apiVersion": "v1", "kind": "X", "name": "other", "uid": "x", "controller": True}
    one.cluster.patch("Service", "default", "demo", {"metadata": metadata | {"ownerReferences": [other]}})
    await one.run()
    assert one.client.reads == {}
    assert one.client.writes == {"status": 1}
    assert one.condition("Reconciled")["reason"] == "NotOwned"


async def test_groups_of_somebody_else_are_neither_counted_nor_pruned(one):
    before = one.cluster.create(GROUP)
    await one.settle()
    assert one.cluster.get("StatefulSet", "default", "demo-old") == before
    assert one.cluster.get("LLMDeployment", *KEY)["status"]["replicas"] == 1


async def test_orphans_are_adopted_and_nothing_is_made_twice(one):
    await one.settle()
    kinds = ("StatefulSet", "Service", "Deployment", "NetworkPolicy")
    uids = {each["metadata"]["uid"] for kind in kinds for each in one.cluster.list(kind, "default")}
    for kind in kinds:
        for each in one.cluster.list(kind, "default"):
            one.cluster.patch(kind, "default", each["metadata"]["name"], {"metadata": {"ownerReferences": None}})
    await one.settle()
    found = [each for kind in kinds for each in one.cluster.list(kind, "default")]
    assert {each["metadata"]["uid"] for each in found} == uids
    assert all(each["metadata"]["ownerReferences"][0]["controller"] for each in found)


async def test_an_orphan_that_is_not_wanted_is_adopted_and_then_pruned(one):
    await one.settle()
    labels = {"app.kubernetes.io/managed-by": "manta", "manta.dev/deployment": "demo"}
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"namespace": "default", "labels": labels}}
    config["metadata"]["name"] = "demo-before"
    one.cluster.create(config)
    await one.settle()
    assert one.cluster.find("ConfigMap", "default", "demo-before") is None


async def test_a_child_that_lost_its_labels_is_ours_all_the_same(one):
    await one.settle()
    before = one.cluster.get("Service", "default", "demo")
    gone = {"app.kubernetes.io/managed-by": None, "manta.dev/deployment": None}
    one.cluster.patch("Service", "default", "demo", {"metadata": {"labels": gone}})
    await one.settle()
    after = one.cluster.get("Service", "default", "demo")
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert after["metadata"]["labels"] == before["metadata"]["labels"]


async def test_what_a_deleted_one_of_the_same_name_left_is_waited_for(one, caplog):
    """Delete and create again: the garbage collector has not come by yet. Nobody has to do anything."""
    await one.settle()
    one.client.events.clear()
    body = one.cluster.get("LLMDeployment", *KEY)
    one.cluster.delete("LLMDeployment", *KEY)
    metadata = {"name": "demo", "namespace": "default"}
    one.cluster.create({name: body[name] for name in ("apiVersion", "kind", "spec")} | {"metadata": metadata})
    caplog.clear()
    assert (await one.run()).pause <= 1.0
    reconciled = one.condition("Reconciled")
    assert (reconciled["status"], reconciled["reason"]) == ("False", "Transient")
    assert "still belongs to the deleted LLMDeployment demo" in reconciled["message"]
    assert "rename" not in reconciled["message"]
    assert one.client.events == []
    assert not [record for record in caplog.records if record.levelname == "WARNING"]
    for kind in CHILD_KINDS:
        for each in one.cluster.list(kind, "default"):
            one.cluster.delete(kind, "default", each["metadata"]["name"])
    one.woken.clear()
    one.hear()
    assert KEY in one.woken, "that they go wakes it"
    await one.settle()
    assert one.condition("Reconciled")["status"] == "True"


async def test_so_is_what_has_lost_its_labels(one):
    former = {"kind": "LLMDeployment", "name": "demo", "uid": "x", "apiVersion": "manta.dev/v1alpha1"}
    metadata = {
        "name": "demo-router-tenants",
        "namespace": "default",
        "ownerReferences": [former | {"controller": True}],
    }
    one.cluster.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata})
    await one.run()
    assert "still belongs to the deleted LLMDeployment demo" in one.condition("Reconciled")["message"]


async def test_names_are_not_kept_for_longer_than_they_are_believed(one, monkeypatch):
    monkeypatch.setattr(ownership, "FRESH_SECONDS", 0.02)
    await one.run()
    strangers = one.reconciler._applier._strangers
    assert strangers._known
    await asyncio.sleep(0.05)
    assert not strangers._known
