"""What the server makes of new pods and Services: defaults, quality of service, addresses."""

import pytest

from manta_operator.box.addresses import AddressPool
from manta_operator.box.apiserver.authorization import Authorizer
from manta_operator.box.apiserver.operations import Operations
from manta_operator.box.apiserver.resources import Registry
from manta_operator.box.apiserver.services import ServiceAddresses
from manta_operator.box.apiserver.store import Store
from manta_operator.box.apiserver.writes import Write


@pytest.fixture
def ops():
    operations = Operations(
        store := Store(), Registry(), ServiceAddresses(AddressPool.for_services(7)), Authorizer(store)
    )
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "default"}}
    operations.create(operations.registry.named("Namespace"), None, space, Write())
    return operations


def pod(**resources):
    return {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "a", "image": "a:1", "resources": resources}]}}


@pytest.mark.parametrize(
    ("resources", "expected"),
    [
        ({}, "BestEffort"),
        ({"requests": {"cpu": "0"}}, "BestEffort"),
        ({"requests": {"cpu": "1"}}, "Burstable"),
        ({"limits": {"cpu": "1"}}, "Burstable"),
        ({"limits": {"cpu": "1", "memory": "1Gi"}}, "Guaranteed"),
        ({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "1000m", "memory": "1024Mi"}}, "Guaranteed"),
        ({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m"}}, "Burstable"),
        ({"limits": {"nvidia.com/gpu": "1"}}, "BestEffort"),
    ],
)
def test_quality_of_service(ops, resources, expected):
    created = ops.create(ops.registry.named("Pod"), "default", pod(**resources), Write())
    assert created["status"]["qosClass"] == expected


def test_limits_become_requests_of_pods_but_not_of_templates(ops):
    limits = {"cpu": "1", "memory": "1Gi"}
    body = pod(limits=limits, requests={"cpu": "100m"})
    created = ops.create(ops.registry.named("Pod"), "default", body, Write())
    assert created["spec"]["containers"][0]["resources"]["requests"] == {"cpu": "100m", "memory": "1Gi"}
    template = {"metadata": {"labels": {"a": "b"}}, "spec": pod(limits=limits)["spec"]}
    spec = {"selector": {"matchLabels": {"a": "b"}}, "template": template}
    made = ops.create(ops.registry.named("Deployment"), "default", {"metadata": {"name": "d"}, "spec": spec}, Write())
    assert made["spec"]["template"]["spec"]["containers"][0]["resources"] == {"limits": limits}


def service(**spec):
    return {"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}], **spec}}


def test_service_that_becomes_external_frees_its_address(ops):
    services = ops.registry.named("Service")
    address = ops.create(services, "default", service(), Write())["spec"]["clusterIP"]
    external = service(type="ExternalName", externalName="example.org")
    after = ops.update(services, "default", "s", external, Write())
    assert "clusterIP" not in after["spec"]
    other = {"metadata": {"name": "t"}, "spec": {"ports": [{"port": 80}], "clusterIP": address}}
    assert ops.create(services, "default", other, Write())["spec"]["clusterIP"] == address
    back = ops.update(services, "default", "s", service(), Write())
    assert back["spec"]["clusterIP"] not in ("", "None", address)


def test_warnings_stay_with_their_write(ops):
    one, two = Write(), Write()
    maps = ops.registry.named("ConfigMap")
    ops.create(maps, "default", {"metadata": {"name": "a"}, "dota": {}}, one)
    ops.create(maps, "default", {"metadata": {"name": "b"}}, two)
    assert (one.warnings, two.warnings) == (['unknown field "dota"'], [])
