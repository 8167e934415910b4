"""What the discovery endpoints say about built-in and custom kinds."""

import json

import pytest

from manta_operator.box.apiserver import discovery
from manta_operator.box.apiserver.resources import Registry, Resource, ScalePaths

CUSTOM = Resource(
    "example.org",
    "v1beta1",
    "Widget",
    "widgets",
    "widget",
    short_names=("wd",),
    categories=("all",),
    status=True,
    scale=ScalePaths(),
    crd={},
    crd_version={},
)
KUBECTL_ACCEPT = (
    "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,"
    "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json"
)


@pytest.fixture
def registry():
    registry = Registry()
    registry.add(CUSTOM)
    return registry


def entries(answer):
    return {entry["name"]: entry for entry in answer["resources"]}


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        pytest.param(KUBECTL_ACCEPT, True, id="kubectl"),
        pytest.param("application/json", False, id="python client"),
        pytest.param(
            "application/json;as=APIGroupDiscoveryList;v=v2beta1;g=apidiscovery.k8s.io", False, id="old version"
        ),
        pytest.param("application/json; as=APIGroupDiscoveryList; v=v2; g=apidiscovery.k8s.io", True, id="with spaces"),
    ],
)
def test_aggregated_discovery_is_negotiated(accept, expected):
    assert discovery.wants_aggregated(accept) is expected


def test_version_is_one_that_clients_can_parse():
    assert discovery.version()["gitVersion"].startswith(
        f"v{discovery.version()['major']}.{discovery.version()['minor']}."
    )


def test_groups_leave_out_the_core_group(registry):
    names = [group["name"] for group in discovery.group_list(registry)["groups"]]
    assert "" not in names
    assert {"apps", "example.org", "apiextensions.k8s.io"} <= set(names)


def test_group_prefers_the_most_stable_version(registry):
    for version in ("v1alpha1", "v2"):
        registry.add(Resource("example.org", version, "Widget", "widgets", "widget"))
    answer = discovery.group(registry, "example.org")
    assert answer["preferredVersion"] == {"groupVersion": "example.org/v2", "version": "v2"}
    assert [entry["version"] for entry in answer["versions"]] == ["v2", "v1beta1", "v1alpha1"]


@pytest.mark.parametrize(
    ("versions", "expected"),
    [
        pytest.param(["v1alpha1", "v1beta1", "v1"], ["v1", "v1beta1", "v1alpha1"], id="stability first"),
        pytest.param(["v2", "v10"], ["v10", "v2"], id="by number"),
        pytest.param(["v1beta2", "v1beta10"], ["v1beta10", "v1beta2"], id="by beta number"),
        pytest.param(["stable", "v1alpha1"], ["v1alpha1", "stable"], id="other names last"),
    ],
)
def test_version_priority(versions, expected):
    assert discovery.by_priority(versions) == expected


@pytest.mark.parametrize("name", ["", "nowhere.org"])
def test_unknown_group_is_none(registry, name):
    assert discovery.group(registry, name) is None


def test_unknown_version_is_none(registry):
    assert discovery.resource_list(registry, "apps", "v9") is None


def test_core_resources_with_their_subresources(registry):
    found = entries(discovery.resource_list(registry, "", "v1"))
    assert found["pods"]["shortNames"] == ["po"]
    assert found["pods/log"]["verbs"] == ["get"]
    assert (found["pods/eviction"]["group"], found["pods/eviction"]["kind"]) == ("policy", "Eviction")
    assert found["namespaces"]["namespaced"] is False
    assert "shortNames" not in found["secrets"]


@pytest.mark.parametrize(
    ("group", "version", "plural"), [("apps", "v1", "deployments"), ("example.org", "v1beta1", "widgets")]
)
def test_scale_is_a_kind_of_autoscaling(registry, group, version, plural):
    scale = entries(discovery.resource_list(registry, group, version))[f"{plural}/scale"]
    assert (scale["group"], scale["version"], scale["kind"]) == ("autoscaling", "v1", "Scale")


def test_aggregated_core_and_groups_are_apart(registry):
    core, groups = (discovery.aggregated(registry, core=core)["items"] for core in (True, False))
    assert [item["metadata"].get("name", "") for item in core] == [""]
    assert "" not in [item["metadata"].get("name", "") for item in groups]


def test_aggregated_and_plain_discovery_agree(registry):
    for item in discovery.aggregated(registry, core=False)["items"]:
        group = item["metadata"]["name"]
        for version in item["versions"]:
            plain = entries(discovery.resource_list(registry, group, version["version"]))
            below = {
                f"{one['resource']}/{sub['subresource']}": sub["verbs"]
                for one in version["resources"]
                for sub in one.get("subresources", ())
            }
            own = {one["resource"]: one["verbs"] for one in version["resources"]}
            assert own | below == {name: entry["verbs"] for name, entry in plain.items()}


def test_a_kind_that_is_removed_is_gone(registry):
    registry.remove("example.org", "widgets")
    assert discovery.group(registry, "example.org") is None
    assert "example.org" not in json.dumps(discovery.aggregated(registry, core=False))
