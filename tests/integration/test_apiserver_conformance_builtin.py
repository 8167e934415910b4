"""What any Kubernetes API server does with built-in kinds: Services, Deployments, budgets, pods that nobody runs."""

import pytest
from conformance import MERGE, causes, config_map, connected, deployment, service

pytestmark = pytest.mark.integration


@pytest.fixture
async def api():
    async with connected() as found:
        yield found


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (service(), {"spec.ports": "Required value"}),
        (
            service({"port": 1}, {"port": 2}),
            {"spec.ports[0].name": "Required value", "spec.ports[1].name": "Required value"},
        ),
        (
            service({"name": "a", "port": 1}, {"name": "a", "port": 2}),
            {"spec.ports[1].name": 'Duplicate value: "a"'},
        ),
        (
            service({"port": 1}, type="Bogus"),
            {
                "spec.type": 'Unsupported value: "Bogus": supported values: '
                '"ClusterIP", "ExternalName", "LoadBalancer", "NodePort"'
            },
        ),
    ],
)
async def test_bad_services_are_invalid(api, body, expected):
    assert causes(await api("POST", f"/api/v1/namespaces/{api.space}/services", body)) == expected


async def test_two_ports_of_one_number(api):
    body = service({"name": "a", "port": 1}, {"name": "b", "port": 1})
    found = causes(await api("POST", f"/api/v1/namespaces/{api.space}/services", body))
    assert {where: text.partition(":")[0] for where, text in found.items()} == {"spec.ports[1]": "Duplicate value"}


async def test_address_of_a_service_stays(api):
    path = f"/api/v1/namespaces/{api.space}/services"
    await api.ok("POST", path, service({"port": 1}))
    found = causes(await api("PATCH", f"{path}/s", {"spec": {"clusterIP": "10.9.9.9"}}, MERGE))
    assert "may not change once set" in found["spec.clusterIPs[0]"]


async def test_budget_has_one_bound(api):
    path = f"/apis/policy/v1/namespaces/{api.space}/poddisruptionbudgets"
    body = {"metadata": {"name": "p"}, "spec": {"minAvailable": 1, "maxUnavailable": 1}}
    found = causes(await api("POST", path, body))
    assert found["spec"].endswith("minAvailable and maxUnavailable cannot be both set")
    del body["spec"]["minAvailable"]
    made = await api.ok("POST", path, body)
    assert made["spec"] == {"maxUnavailable": 1}
    assert made["status"]["expectedPods"] == 0


async def test_negative_scale_is_invalid(api):
    await api.ok("POST", api.deployments, deployment())
    answer = await api("PATCH", f"{api.deployments}/d/scale", {"spec": {"replicas": -3}}, MERGE)
    assert causes(answer) == {"spec.replicas": "Invalid value: -3: must be greater than or equal to 0"}
    assert (answer.body["details"]["kind"], answer.body["details"]["group"]) == ("Scale", "autoscaling")
    assert (await api.ok("GET", f"{api.deployments}/d"))["spec"]["replicas"] == 0


async def test_new_deployment_has_an_empty_status(api):
    assert (await api.ok("POST", f"{api.deployments}?dryRun=All", deployment()))["status"] == {}


async def test_selector_does_not_change(api):
    await api.ok("POST", api.deployments, deployment())
    patch = {"spec": {"selector": {"matchLabels": {"q": "q"}}}}
    assert causes(await api("PATCH", f"{api.deployments}/d", patch, MERGE)) == {
        "spec.template.metadata.labels": 'Invalid value: {"app":"d"}: `selector` does not match template `labels`',
        "spec.selector": 'Invalid value: {"matchLabels":{"app":"d","q":"q"}}: field is immutable',
    }


async def test_creator_owns_fields_and_the_maps_that_hold_them(api):
    container = {"name": "a", "image": "a:1", "resources": {"limits": {"cpu": "1"}}, "env": [{"name": "X"}]}
    made = await api.ok("POST", api.deployments, deployment(container))
    (entry,) = (each for each in made["metadata"]["managedFields"] if each["manager"] == "conformance")
    template = entry["fieldsV1"]["f:spec"]["f:template"]
    assert "." not in entry["fieldsV1"]["f:spec"]
    assert template["f:metadata"] == {"f:labels": {".": {}, "f:app": {}}}
    containers = template["f:spec"]["f:containers"]
    assert list(containers) == ['k:{"name":"a"}']
    owned = containers['k:{"name":"a"}']
    assert owned["f:resources"] == {".": {}, "f:limits": {".": {}, "f:cpu": {}}}
    assert owned["f:env"] == {".": {}, 'k:{"name":"X"}': {".": {}, "f:name": {}}}
    assert "f:enableServiceLinks" not in template["f:spec"]


async def test_who_adds_the_first_label_owns_the_labels(api):
    await api.ok("POST", api.maps, config_map(a="1"))
    patch = {"metadata": {"labels": {"x": "y"}}, "data": {"b": "2"}}
    changed = await api.ok("PATCH", f"{api.maps}/c?fieldManager=two", patch, MERGE)
    owned = {entry["manager"]: entry["fieldsV1"] for entry in changed["metadata"]["managedFields"]}
    assert owned == {
        "conformance": {"f:data": {".": {}, "f:a": {}}},
        "two": {"f:data": {"f:b": {}}, "f:metadata": {"f:labels": {".": {}, "f:x": {}}}},
    }
    removed = await api.ok("PATCH", f"{api.maps}/c?fieldManager=three", {"metadata": {"labels": None}}, MERGE)
    owned = {entry["manager"]: entry["fieldsV1"] for entry in removed["metadata"]["managedFields"]}
    assert owned == {"conformance": {"f:data": {".": {}, "f:a": {}}}, "two": {"f:data": {"f:b": {}}}}


def pod(**spec):
    """A pod that no scheduler takes."""
    containers = [{"name": "a", "image": "a:1"}]
    return {"metadata": {"name": "p"}, "spec": {"schedulerName": "nobody", "containers": containers, **spec}}


async def test_pods_alone_are_told_of_services(api):
    made = await api.ok("POST", f"/api/v1/namespaces/{api.space}/pods", pod())
    assert made["spec"]["enableServiceLinks"] is True
    template = (await api.ok("POST", api.deployments, deployment()))["spec"]["template"]
    assert "enableServiceLinks" not in template["spec"]


@pytest.mark.parametrize(("query", "code"), [("", 204), ("?follow=true", 204), ("?container=x", 400)])
async def test_pod_that_runs_nowhere_has_no_log(api, query, code):
    path = f"/api/v1/namespaces/{api.space}/pods"
    await api.ok("POST", path, pod())
    assert (await api("GET", f"{path}/p/log{query}")).code == code


async def test_unknown_groups_are_not_found(api):
    assert (await api("GET", "/apis/nobody.example.org/v1/things")).code == 404


async def test_the_text_of_a_secret_becomes_its_data(api):
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringData": {"token": "abc"}}
    made = (await api("POST", f"/api/v1/namespaces/{api.space}/secrets", secret)).body
    assert made["data"] == {"token": "YWJj"}
    assert "stringData" not in made
