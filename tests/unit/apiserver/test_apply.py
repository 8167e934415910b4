"""Server-side apply, patches and deletion, in process."""

import pytest

from manta_operator.box.apiserver.authorization import Authorizer
from manta_operator.box.apiserver.operations import Operations
from manta_operator.box.apiserver.resources import Registry
from manta_operator.box.apiserver.services import ServiceAddresses
from manta_operator.box.apiserver.store import Store
from manta_operator.box.apiserver.writes import Write
from manta_operator.box.cluster import ApiError


@pytest.fixture
def ops():
    operations = Operations(store := Store(), Registry(), ServiceAddresses(iter(["127.2.1.1"])), Authorizer(store))
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "default"}}
    operations.create(operations.registry.named("Namespace"), None, space, Write())
    return operations


def apply(ops, manager, data, *, force=False):
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": data}
    resource = ops.registry.named("ConfigMap")
    return ops.apply(resource, "default", "c", body, Write(manager, force=force))[0]


def test_apply_drops_what_its_manager_no_longer_declares(ops):
    apply(ops, "one", {"a": "1", "b": "2"})
    assert apply(ops, "one", {"a": "1"})["data"] == {"a": "1"}


def test_apply_keeps_what_another_manager_owns_too(ops):
    apply(ops, "one", {"a": "1", "b": "2"})
    apply(ops, "two", {"b": "2"})
    assert apply(ops, "one", {"a": "1"})["data"] == {"a": "1", "b": "2"}


def test_conflict_names_field_and_manager(ops):
    apply(ops, "one", {"a": "1"})
    with pytest.raises(ApiError, match=r'^Apply failed with 1 conflict: conflict with "one": \.data\.a$') as caught:
        apply(ops, "two", {"a": "2"})
    assert caught.value.code == 409


def test_conflicts_are_grouped_by_manager(ops):
    maps = ops.registry.named("ConfigMap")
    apply(ops, "one", {"a": "1", "b": "1"})
    ops.update(maps, "default", "c", {"metadata": {"name": "c"}, "data": {"a": "1", "b": "1", "c": "1"}}, Write("two"))
    with pytest.raises(ApiError) as caught:
        apply(ops, "three", {"a": "2", "b": "2", "c": "2"})
    *lines, last = caught.value.message.splitlines()
    assert lines[:3] == ['Apply failed with 3 conflicts: conflicts with "one":', "- .data.a", "- .data.b"]
    assert lines[3].startswith('conflicts with "two" using v1 at 20')
    assert last == "- .data.c"


def deployment(**container):
    pod = {"containers": [{"name": "a", "image": "a:1", **container}]}
    template = {"metadata": {"labels": {"app": "a"}}, "spec": pod}
    return {"metadata": {"name": "d"}, "spec": {"selector": {"matchLabels": {"app": "a"}}, "template": template}}


def apply_deployment(ops, manager, **container):
    resource = ops.registry.named("Deployment")
    how = Write(manager, force=True)
    applied = ops.apply(resource, "default", "d", deployment(**container), how)[0]
    return applied["spec"]["template"]["spec"]["containers"]


def test_dropping_a_struct_takes_its_defaults_along(ops):
    probe = {"httpGet": {"port": 80}}
    assert apply_deployment(ops, "one", readinessProbe=probe)[0]["readinessProbe"]["periodSeconds"] == 10
    assert "readinessProbe" not in apply_deployment(ops, "one")[0]


def test_dropping_a_struct_leaves_what_others_own_in_it(ops):
    apply_deployment(ops, "one", readinessProbe={"httpGet": {"port": 80}, "periodSeconds": 3})
    resource = ops.registry.named("Deployment")
    other = deployment(readinessProbe={"httpGet": {"port": 80}})
    ops.apply(resource, "default", "d", other, Write("two"))
    left = apply_deployment(ops, "one")[0]["readinessProbe"]
    assert left == {
        "httpGet": {"port": 80, "path": "/", "scheme": "HTTP"},
        "periodSeconds": 10,
        "timeoutSeconds": 1,
        "successThreshold": 1,
        "failureThreshold": 3,
    }


def test_dropping_the_last_label_keeps_the_name(ops):
    resource = ops.registry.named("ConfigMap")
    labelled = {"metadata": {"name": "m", "labels": {"a": "b"}}}
    ops.apply(resource, "default", "m", labelled, Write("one"))
    left = ops.apply(resource, "default", "m", {"metadata": {"name": "m"}}, Write("one"))[0]
    assert left["metadata"]["name"] == "m"
    assert "labels" not in left["metadata"]


@pytest.mark.parametrize(
    ("live", "applied", "expected"),
    [("ab", "ba", "ba"), ("abc", "ca", "cba"), ("ab", "ca", "cab"), ("ab", "bc", "abc"), ("", "ba", "ba")],
)
def test_lists_take_the_applied_order(ops, live, applied, expected):
    resource = ops.registry.named("Service")

    def service(names):
        ports = [{"name": name, "port": ord(name)} for name in names]
        return {"metadata": {"name": "s"}, "spec": {"clusterIP": "None", **({"ports": ports} if ports else {})}}

    ops.create(resource, "default", service(live), Write("first"))
    after = ops.apply(resource, "default", "s", service(applied), Write("one", force=True))[0]
    assert "".join(port["name"] for port in after["spec"]["ports"]) == expected


def test_who_creates_owns_the_defaults_and_who_applies_does_not(ops):
    resource = ops.registry.named("Deployment")
    ops.create(resource, "default", deployment(), Write("creator"))
    body = deployment()
    body["spec"]["revisionHistoryLimit"] = 3
    with pytest.raises(ApiError, match=r'conflict with "creator" using apps/v1 at .*: \.spec\.revisionHistoryLimit$'):
        ops.apply(resource, "default", "d", body, Write("one"))
    ops.deletion.delete(resource, "default", "d", {})
    apply_deployment(ops, "one")
    changed = ops.apply(resource, "default", "d", body, Write("two"))[0]
    assert changed["spec"]["revisionHistoryLimit"] == 3


def test_applied_status_claims_no_metadata(ops):
    resource = ops.registry.named("Deployment")
    apply_deployment(ops, "one")
    status = {"metadata": {"name": "d", "labels": {"x": "y"}}, "status": {"replicas": 3}}
    after = ops.apply(resource, "default", "d", status, Write("two", subresource="status"))[0]
    assert after["status"]["replicas"] == 3
    assert "labels" not in after["metadata"]
    owned = {entry["manager"]: entry["fieldsV1"] for entry in after["metadata"]["managedFields"]}
    assert owned["two"] == {"f:status": {"f:replicas": {}}}


def test_force_takes_over(ops):
    apply(ops, "one", {"a": "1"})
    forced = apply(ops, "two", {"a": "2"}, force=True)
    assert [entry["manager"] for entry in forced["metadata"]["managedFields"]] == ["two"]


def test_same_apply_changes_nothing(ops):
    first = apply(ops, "one", {"a": "1"})
    assert apply(ops, "one", {"a": "1"})["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]


def test_bound_pod_waits_for_its_kubelet(ops):
    pods = ops.registry.named("Pod")
    spec = {"nodeName": "box", "containers": [{"name": "a", "image": "b"}]}
    ops.create(pods, "default", {"metadata": {"name": "p"}, "spec": spec}, Write())
    ops.deletion.delete(pods, "default", "p", {})
    assert ops.read(pods, "default", "p")["metadata"]["deletionGracePeriodSeconds"] == 30
    ops.deletion.delete(pods, "default", "p", {"gracePeriodSeconds": 0})
    with pytest.raises(ApiError, match='"p" not found'):
        ops.read(pods, "default", "p")


def test_unknown_field_is_refused_when_strict(ops):
    body = {"metadata": {"name": "c"}, "dota": {}}
    with pytest.raises(ApiError, match='unknown field "dota"'):
        ops.create(ops.registry.named("ConfigMap"), "default", body, Write(field_validation="Strict"))
