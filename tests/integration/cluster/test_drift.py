"""What others do to the children is undone; what belongs to others is left alone."""

import pytest
from cluster_space import KIND

from manta_operator.box.cluster import ApiError

CHANGES = [
    ("Service", "demo", {"spec": {"selector": {"manta.dev/deployment": "x"}}}),
    ("Service", "demo", {"spec": {"ports": [{"name": "http", "port": 9999, "targetPort": "http"}]}}),
    ("ConfigMap", "demo-router-tenants", {"data": {"tenants.yaml": "broken"}}),
    ("Role", "demo-router", {"rules": []}),
    ("ServiceAccount", "demo-router", {"metadata": {"labels": {"app.kubernetes.io/name": "x"}}}),
    ("PodDisruptionBudget", "demo-router", {"spec": {"maxUnavailable": 0}}),
    ("NetworkPolicy", "demo-engine", {"spec": {"ingress": []}}),
    ("Deployment", "demo-router", {"spec": {"replicas": 0}}),
    ("StatefulSet", "group", {"spec": {"replicas": 0}}),
]


def parts(obj):
    """What an object says, without what the server and other controllers write."""
    left = {key: value for key, value in obj.items() if key not in ("metadata", "status", "apiVersion", "kind")}
    return left, obj["metadata"].get("labels")


@pytest.mark.parametrize(("kind", "name", "patch"), CHANGES, ids=[f"{k}-{next(iter(p))}" for k, _, p in CHANGES])
def test_drift_is_undone(space, kind, name, patch):
    """A child that somebody changed is as it was within seconds"""
    space.make("demo")
    space.serving("demo")
    name = space.groups("demo")[0] if name == "group" else name
    space.still("demo")
    good = space.get(kind, name)
    changed = space.cluster.patch(kind, space.name, name, patch)
    assert parts(changed) != parts(good)
    space.until(f"{kind} {name} is as before", lambda: parts(space.get(kind, name)) == parts(good))


def test_deleted_children_come_back(space):
    """Every child that somebody deletes, of each kind, is made again, a group under a free index, and it serves."""
    space.make("demo")
    space.serving("demo")
    before = {}
    for child in space.children("demo"):
        kind, meta = child["kind"], child["metadata"]
        if kind != "StatefulSet":
            before[kind, meta["name"]] = meta["uid"]
        space.cluster.delete(kind, space.name, meta["name"])
    for (kind, name), uid in before.items():
        space.until(
            f"{kind} {name} is back",
            lambda: (found := space.get(kind, name)) and found["metadata"]["uid"] != uid,  # noqa: B023
        )
    space.until("one group serves", lambda: len(space.pods("demo")) == len(space.groups("demo")) == 1)
    space.serving("demo")


def test_what_somebody_else_added_stays(space):
    """Labels and annotations that others put on a child stay, and are no drift."""
    space.make("demo")
    space.serving("demo")
    others = {"metadata": {"annotations": {"example.com/by": "me"}, "labels": {"example.com/team": "a"}}}
    space.cluster.patch("Service", space.name, "demo", others)
    space.change("demo", router={"port": 9001})
    space.until("the port is changed", lambda: space.get("Service", "demo")["spec"]["ports"][0]["port"] == 9001)
    meta = space.get("Service", "demo")["metadata"]
    assert meta["annotations"]["example.com/by"] == "me"
    assert meta["labels"]["example.com/team"] == "a"


@pytest.mark.parametrize("kind", ["Service", "ConfigMap"])
def test_a_foreign_object_is_refused(space, kind):
    """A child's name taken by somebody else's object: not touched, told in Reconciled; taken over once it is gone"""
    name = {"Service": "demo", "ConfigMap": "demo-router-tenants"}[kind]
    rest = {
        "Service": {"spec": {"selector": {"app": "old"}, "ports": [{"port": 80}]}},
        "ConfigMap": {"data": {"a": "b"}},
    }
    foreign = {"apiVersion": "v1", "kind": kind, "metadata": {"name": name, "namespace": space.name}} | rest[kind]
    made = space.cluster.create(foreign)
    space.make("demo")
    told = space.becomes("demo", "Reconciled", "False", "NotOwned")
    assert f"{kind} {space.name}/{name}" in told["message"]
    assert space.judged("demo", "Ready")["status"] == "False"
    assert parts(space.get(kind, name)) == parts(made)
    assert space.get(kind, name)["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]
    space.cluster.delete(kind, space.name, name)
    space.serving("demo", seconds=120)
    assert space.get(kind, name)["metadata"]["uid"] != made["metadata"]["uid"]


def test_children_of_another_deployment_are_refused(space):
    """Two LLMDeployments never share a child, even if one is made while the other's finalizer still holds."""
    first = space.make("demo")
    space.serving("demo")
    space.cluster.patch(
        KIND, space.name, "demo", {"metadata": {"finalizers": ["example.com/hold", *_finalizers(space)]}}
    )
    space.cluster.delete(KIND, space.name, "demo")
    with pytest.raises(ApiError) as refused:
        space.make("demo")
    assert refused.value.reason == "AlreadyExists"
    space.cluster.patch(KIND, space.name, "demo", {"metadata": {"finalizers": _without_hold(space)}})
    space.until("it is gone", lambda: space.get(KIND, "demo") is None)
    second = space.until("the name is free", lambda: space.make("demo"))
    space.serving("demo")
    owners = {ref["uid"] for child in space.children("demo") for ref in child["metadata"]["ownerReferences"]}
    assert owners == {second["metadata"]["uid"]} != {first["metadata"]["uid"]}


def _finalizers(space):
    return space.get(KIND, "demo")["metadata"].get("finalizers") or []


def _without_hold(space):
    return [each for each in _finalizers(space) if each != "example.com/hold"]
