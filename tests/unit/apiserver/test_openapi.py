"""What kubectl reads from the OpenAPI documents: kinds by path, query parameters, patch types, schemas that resolve."""

import json

import pytest

from manta_operator.box.apiserver.openapi import OpenApi
from manta_operator.box.apiserver.resources import Registry, Resource, ScalePaths

SCHEMA = {
    "type": "object",
    "description": "A widget.",
    "required": ["spec"],
    "properties": {
        "apiVersion": {"type": "string"},
        "metadata": {"type": "object"},
        "spec": {
            "type": "object",
            "properties": {
                "replicas": {"type": "integer", "default": 1, "nullable": True},
                "size": {"x-kubernetes-int-or-string": True, "anyOf": [{"type": "integer"}, {"type": "string"}]},
            },
        },
    },
}


def widget(schema):
    version = {"name": "v1", "schema": {"openAPIV3Schema": schema}}
    return Resource(
        "example.org", "v1", "Widget", "widgets", "widget", status=True, scale=ScalePaths(), crd={}, crd_version=version
    )


@pytest.fixture
def api():
    registry = Registry()
    registry.add(widget(SCHEMA))
    return OpenApi(registry)


@pytest.fixture
def apps(api):
    return api.v3("apps", "v1")


@pytest.fixture
def custom(api):
    return api.v3("example.org", "v1")


def references(value):
    if isinstance(value, list):
        return {name for one in value for name in references(one)}
    if not isinstance(value, dict):
        return set()
    own = {value["$ref"]} if isinstance(value.get("$ref"), str) else set()
    return own | {name for one in value.values() for name in references(one)}


def lookup(document, reference):
    place = document
    for step in reference.removeprefix("#/").split("/"):
        place = place[step]
    return place


def query(operation):
    return {parameter["name"] for parameter in operation["parameters"] if parameter["in"] == "query"}


def test_index_names_every_group_version(api):
    paths = api.index()["paths"]
    assert {"api/v1", "apis/apps/v1", "apis/example.org/v1"} <= set(paths)
    assert paths["api/v1"]["serverRelativeURL"] == f"/openapi/v3/api/v1?hash={api.hash('', 'v1')}"


def test_every_reference_leads_somewhere(api):
    documents = [api.v2()]
    for group, versions in api.registry.groups().items():
        documents += [api.v3(group, version) for version in versions]
    for document in documents:
        for reference in references(document):
            assert lookup(document, reference)


def test_documents_are_json(api):
    assert json.loads(json.dumps(api.v2()))["swagger"] == "2.0"
    assert json.loads(json.dumps(api.v3("", "v1")))["openapi"] == "3.0.0"


def test_what_is_not_served_is_none(api):
    assert api.v3("apps", "v9") is None


@pytest.mark.parametrize(
    ("method", "path"),
    [
        pytest.param("patch", "/apis/apps/v1/namespaces/{namespace}/deployments/{name}", id="patch"),
        pytest.param("post", "/apis/apps/v1/namespaces/{namespace}/deployments", id="create"),
        pytest.param("put", "/apis/apps/v1/namespaces/{namespace}/deployments/{name}/status", id="update status"),
    ],
)
def test_writes_take_field_validation_and_dry_run(apps, method, path):
    assert {"fieldValidation", "dryRun", "fieldManager"} <= query(apps["paths"][path][method])


def test_built_in_kinds_take_strategic_merge_and_custom_ones_do_not(apps, custom):
    built_in = apps["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]["patch"]
    own = custom["paths"]["/apis/example.org/v1/namespaces/{namespace}/widgets/{name}"]["patch"]
    assert "application/strategic-merge-patch+json" in built_in["requestBody"]["content"]
    assert "application/strategic-merge-patch+json" not in own["requestBody"]["content"]
    assert "application/apply-patch+yaml" in own["requestBody"]["content"]


def test_a_path_says_its_kind_and_scale_is_of_autoscaling(custom):
    item = "/apis/example.org/v1/namespaces/{namespace}/widgets/{name}"
    kinds = [custom["paths"][path]["get"]["x-kubernetes-group-version-kind"] for path in (item, f"{item}/scale")]
    assert kinds[0] == {"group": "example.org", "version": "v1", "kind": "Widget"}
    assert kinds[1] == {"group": "autoscaling", "version": "v1", "kind": "Scale"}


def test_built_in_schema_keeps_what_merging_needs_and_drops_null(apps):
    containers = apps["components"]["schemas"]["io.k8s.api.core.v1.PodSpec"]["properties"]["containers"]
    assert containers["type"] == "array"
    assert containers["x-kubernetes-patch-merge-key"] == "name"
    assert containers["x-kubernetes-list-map-keys"] == ["name"]


def test_built_in_schema_is_not_tied_to_one_value(apps):
    properties = apps["components"]["schemas"]["io.k8s.api.apps.v1.Deployment"]["properties"]
    assert properties["kind"]["type"] == "string"
    assert "enum" not in properties["kind"]
    assert properties["spec"]["allOf"] == [{"$ref": "#/components/schemas/io.k8s.api.apps.v1.DeploymentSpec"}]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        pytest.param("util.intstr.IntOrString", [{"type": "string"}, {"type": "integer"}], id="int or string"),
        pytest.param("api.resource.Quantity", [{"type": "string"}, {"type": "number"}], id="quantity"),
    ],
)
def test_values_of_two_types(api, apps, name, expected):
    full = f"io.k8s.apimachinery.pkg.{name}"
    assert apps["components"]["schemas"][full]["oneOf"] == expected
    assert api.v2()["definitions"][full]["type"] == "string"


def test_properties_named_like_keywords_survive(api):
    schemas = api.v3("apiextensions.k8s.io", "v1")["components"]["schemas"]
    properties = schemas["io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps"]["properties"]
    assert {"$ref", "allOf", "not", "default", "properties"} <= set(properties)


def test_custom_schema_gets_the_head_every_kind_has(custom):
    schema = custom["components"]["schemas"]["org.example.v1.Widget"]
    assert schema["description"] == "A widget."
    assert schema["x-kubernetes-group-version-kind"] == [{"group": "example.org", "version": "v1", "kind": "Widget"}]
    assert schema["properties"]["metadata"]["allOf"][0]["$ref"].endswith("v1.ObjectMeta")
    assert schema["properties"]["spec"]["properties"]["replicas"]["default"] == 1
    assert "org.example.v1.WidgetList" in custom["components"]["schemas"]


def test_swagger_drops_what_it_cannot_say(api):
    spec = api.v2()["definitions"]["org.example.v1.Widget"]["properties"]["spec"]["properties"]
    assert spec["replicas"] == {"type": "integer"}
    assert "anyOf" not in spec["size"]


def test_documents_are_kept_until_a_schema_changes(api):
    before, other, kept_hash = api.v3("example.org", "v1"), api.v3("apps", "v1"), api.hash("example.org", "v1")
    assert api.v3("example.org", "v1") is before
    api.registry.add(widget(SCHEMA | {"description": "Another."}))
    after = api.v3("example.org", "v1")
    assert after["components"]["schemas"]["org.example.v1.Widget"]["description"] == "Another."
    assert api.hash("example.org", "v1") != kept_hash
    assert api.v3("apps", "v1") is other


def test_nothing_is_built_for_the_index(api):
    api.index()
    assert api._kept == {}
