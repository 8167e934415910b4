"""Server-side apply, patches and deletion, in process."""

import pytest

from manta_operator.box.apiserver.operations import Operations
from manta_operator.box.apiserver.resources import Registry
from manta_operator.box.apiserver.services import ServiceAddresses
from manta_operator.box.apiserver.store import Store
from manta_operator.box.apiserver.writes import Write
from manta_operator.box.cluster import ApiError


@pytest.fixture
def ops():
    operations = Operations(Store(), Registry(), ServiceAddresses(iter(["127.2.1.1"])))
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
    with pytest.raises(ApiError, match=r'conflict with "one" using v1: \.data\.a') as caught:
        apply(ops, "two", {"a": "2"})
    assert caught.value.code == 409


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
