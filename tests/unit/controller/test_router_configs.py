"""The ConfigMaps of the routers: which are there while pods of several configurations run."""

import pytest
from one_deployment import OneDeployment

from manta_operator.api import names


@pytest.fixture
def one():
    return OneDeployment()


def configs(one):
    return {body["metadata"]["name"] for body in one.cluster.list("ConfigMap", "default")}


def router(one, name, volume):
    """A pod of the router that reads a ConfigMap."""
    labels = {"app.kubernetes.io/managed-by": "manta", names.LABEL_DEPLOYMENT: "demo"}
    metadata = {"name": name, "namespace": "default", "labels": labels | {names.LABEL_COMPONENT: "router"}}
    spec = {"containers": [{"name": "picker", "image": "manta/x"}], "volumes": [volume]}
    one.cluster.create({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})


async def test_a_router_pod_keeps_the_configuration_that_it_started_with(one):
    """Its image may not understand another one, and its containers may start again at any time."""
    await one.settle()
    [first] = [name for name in configs(one) if name != "demo-router-tenants"]
    workload = one.cluster.get("Deployment", "default", "demo-router")
    [volume] = [each for each in workload["spec"]["template"]["spec"]["volumes"] if each["name"] == "config"]
    router(one, "demo-router-1-a", volume)
    one.change(router={"retries": 5})
    await one.settle()
    second = configs(one) - {first, "demo-router-tenants"}
    assert len(second) == 1
    assert configs(one) == {first, "demo-router-tenants"} | second
    one.cluster.delete("Pod", "default", "demo-router-1-a")
    await one.run()
    assert configs(one) == {"demo-router-tenants"} | second


async def test_so_does_one_of_an_operator_that_had_one_name_for_all(one):
    await one.settle()
    owners = one.cluster.get("Service", "default", "demo")["metadata"]["ownerReferences"]
    labels = {"app.kubernetes.io/managed-by": "manta", names.LABEL_DEPLOYMENT: "demo"}
    metadata = {"name": "demo-router", "namespace": "default", "labels": labels, "ownerReferences": owners}
    one.cluster.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"router.yaml": ""}})
    router(one, "demo-router-0-a", {"name": "config", "configMap": {"name": "demo-router"}})
    await one.run()
    assert "demo-router" in configs(one)
    one.cluster.delete("Pod", "default", "demo-router-0-a")
    await one.run()
    assert "demo-router" not in configs(one)
