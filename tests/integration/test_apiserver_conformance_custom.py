"""What any Kubernetes API server does with custom kinds: one that the suite brings, and Manta's own."""

from pathlib import Path

import pytest
import yaml
from conformance import CRDS, JSON_PATCH, MERGE, STRATEGIC, causes, connected, widget_crd

pytestmark = pytest.mark.integration
ROOT = Path(__file__).resolve().parents[2]
OURS = yaml.safe_load((ROOT / "crds" / "manta.dev_llmdeployments.yaml").read_text())


@pytest.fixture
async def api():
    async with connected() as found:
        yield found


@pytest.fixture
async def widgets(api):
    """Where the widgets are, and how one looks."""
    crd = widget_crd()
    async with api.definition(crd) as path:

        def widget(**spec):
            group = {"apiVersion": f"{crd['spec']['group']}/v1", "kind": "Widget"}
            return {**group, "metadata": {"name": "w"}, "spec": {"size": 1, **spec}}

        yield path, widget


async def test_defaults_and_pruning(api, widgets):
    path, widget = widgets
    made = await api.ok("POST", path, widget(unknown=1, free={"a": {"b": 1}}, parts=[{"name": "p", "more": 1}]))
    parts = [{"name": "p", "count": 1}]
    assert made["spec"] == {"size": 1, "limit": 10, "free": {"a": {"b": 1}}, "parts": parts}
    strict = await api("POST", f"{path}?fieldValidation=Strict", widget(parts=[{"name": "p", "more": 1}]))
    assert (strict.code, 'unknown field "spec.parts[0].more"' in strict.body["message"]) == (400, True)


@pytest.mark.parametrize(
    ("spec", "field", "text"),
    [
        ({"size": "big"}, "spec.size", "integer"),
        ({"size": -1}, "spec.size", "greater than or equal to 0"),
        ({"size": None}, "spec.size", "Required value"),
        ({"color": "green"}, "spec.color", "red"),
        ({"size": 11}, "spec", "size must not exceed limit"),
        ({"parts": [{"name": "p"}, {"name": "p"}]}, "spec.parts[1]", "Duplicate value"),
        ({"parts": [{"count": 1}]}, "spec.parts[0].name", "Required value"),
        ({"tags": ["a", "a"]}, "spec.tags[1]", "Duplicate value"),
    ],
)
async def test_validation_names_the_field(api, widgets, spec, field, text):
    path, widget = widgets
    found = causes(await api("POST", path, widget(**spec)))
    assert text in found[field]


async def test_transition_rules_compare_with_what_was(api, widgets):
    path, widget = widgets
    await api.ok("POST", path, widget(size=5, color="red"))
    shrunk = causes(await api("PATCH", f"{path}/w", {"spec": {"size": 4}}, MERGE))
    assert "size cannot shrink" in shrunk["spec"]
    painted = causes(await api("PATCH", f"{path}/w", {"spec": {"color": "blue"}}, MERGE))
    assert "color is immutable" in painted["spec.color"]
    grown = await api.ok("PATCH", f"{path}/w", {"spec": {"size": 6, "color": "red"}}, MERGE)
    assert (grown["spec"]["size"], grown["metadata"]["generation"]) == (6, 2)
    # A field that comes or goes has nothing to be compared with.
    assert "color" not in (await api.ok("PATCH", f"{path}/w", {"spec": {"color": None}}, MERGE))["spec"]


async def test_status_and_spec_do_not_touch_each_other(api, widgets):
    path, widget = widgets
    made = await api.ok("POST", path, {**widget(), "status": {"ready": 9}})
    assert "status" not in made
    told = await api.ok(
        "PUT", f"{path}/w/status", {**made, "spec": {"size": 7}, "status": {"ready": 3, "selector": "a=b"}}
    )
    assert (told["spec"]["size"], told["status"]["ready"], told["metadata"]["generation"]) == (1, 3, 1)
    changed = await api.ok("PATCH", f"{path}/w", {"spec": {"size": 2}, "status": {"ready": 8}}, MERGE)
    assert (changed["spec"]["size"], changed["status"]["ready"], changed["metadata"]["generation"]) == (2, 3, 2)
    assert (await api("PATCH", f"{path}/w/status", {"status": {"ready": "x"}}, MERGE)).code == 422


async def test_scale_shows_and_changes_three_fields(api, widgets):
    path, widget = widgets
    await api.ok("POST", path, widget(size=2))
    await api.ok("PATCH", f"{path}/w/status", {"status": {"ready": 1, "selector": "a=b"}}, MERGE)
    scale = await api.ok("GET", f"{path}/w/scale")
    assert (scale["kind"], scale["apiVersion"]) == ("Scale", "autoscaling/v1")
    assert (scale["spec"], scale["status"]) == ({"replicas": 2}, {"replicas": 1, "selector": "a=b"})
    scale["spec"]["replicas"] = 4
    assert (await api.ok("PUT", f"{path}/w/scale", scale))["spec"] == {"replicas": 4}
    assert (await api.ok("PATCH", f"{path}/w/scale", {"spec": {"replicas": 5}}, MERGE))["spec"] == {"replicas": 5}
    after = await api.ok("GET", f"{path}/w")
    assert (after["spec"]["size"], after["status"]["ready"]) == (5, 1)
    through = [each for each in after["metadata"]["managedFields"] if each.get("subresource") == "scale"]
    assert [each["fieldsV1"] for each in through] == [{"f:spec": {"f:size": {}}}], "who wrote it, and where"
    assert (await api("PUT", f"{path}/w/scale", scale)).code == 409


async def test_negative_scales_are_invalid(api, widgets):
    path, widget = widgets
    await api.ok("POST", path, widget())
    found = causes(await api("PATCH", f"{path}/w/scale", {"spec": {"replicas": -3}}, MERGE))
    assert found[".spec.size"] == "Invalid value: -3: should be a non-negative integer"
    assert found["spec.size"].startswith("Invalid value: -3: ")
    assert (await api.ok("GET", f"{path}/w"))["spec"]["size"] == 1


@pytest.mark.parametrize("subresource", ["", "/status"])
async def test_replacing_needs_a_version(api, widgets, subresource):
    path, widget = widgets
    assert (await api("PUT", f"{path}/w{subresource}", widget())).code == 404
    made = await api.ok("POST", path, widget())
    found = causes(await api("PUT", f"{path}/w{subresource}", widget()))
    assert found == {"metadata.resourceVersion": "Invalid value: 0: must be specified for an update"}
    assert await api.ok("PUT", f"{path}/w{subresource}", made) == made


async def test_apply_refuses_fields_that_the_schema_does_not_have(api, widgets):
    path, widget = widgets
    answer = await api.apply(f"{path}/w", widget(bogus=1), "one")
    assert (answer.code, answer.body["status"]) == (500, "Failure")
    assert answer.body["message"].endswith("Kind=Widget): .spec.bogus: field not declared in schema")
    assert (await api("GET", f"{path}/w")).code == 404


async def test_creator_owns_the_objects_that_hold_its_fields(api, widgets):
    path, widget = widgets
    made = await api.ok("POST", path, widget(ref={"a": "1"}, free={"x": 1}))
    (entry,) = made["metadata"]["managedFields"]
    owned = {".": {}, "f:free": {".": {}, "f:x": {}}, "f:limit": {}, "f:ref": {}, "f:size": {}}
    assert entry["fieldsV1"] == {"f:spec": owned}


@pytest.mark.parametrize("body", [[1], {"metadata": "x"}, {"spec": 3}, {"spec": {"replicas": "many"}}])
async def test_bad_scales_are_bad_requests(api, widgets, body):
    path, widget = widgets
    await api.ok("POST", path, widget())
    assert (await api("PUT", f"{path}/w/scale", body)).code == 400


async def test_apply_merges_maps_and_sets_and_replaces_the_rest(api, widgets):
    path, widget = widgets
    one = widget(parts=[{"name": "p", "note": "x"}], tags=["a"], pair=["1", "2"], ref={"a": "1"})
    assert (await api.apply(f"{path}/w", one, "one")).code == 201
    two = widget(parts=[{"name": "q"}], tags=["b"], pair=["3"], ref={"b": "2"})
    refused = await api.apply(f"{path}/w", two, "two")
    assert refused.code == 409
    assert {cause["field"] for cause in refused.body["details"]["causes"]} == {".spec.pair", ".spec.ref"}
    spec = (await api.apply(f"{path}/w", two, "two", force=True)).body["spec"]
    assert spec["parts"] == [{"name": "p", "count": 1, "note": "x"}, {"name": "q", "count": 1}]
    assert (spec["tags"], spec["pair"], spec["ref"]) == (["a", "b"], ["3"], {"b": "2"})
    left = (await api.apply(f"{path}/w", widget(), "one")).body["spec"]
    assert ([part["name"] for part in left["parts"]], left["tags"]) == (["q"], ["b"])


async def test_applied_status_has_an_owner_of_its_own(api, widgets):
    path, widget = widgets
    await api.ok("POST", path, widget())
    body = {**widget(), "status": {"ready": 1}}
    body["metadata"]["labels"] = {"x": "y"}
    answer = await api.apply(f"{path}/w/status", body, "reporter")
    assert "labels" not in answer.body["metadata"]
    entry = next(each for each in answer.body["metadata"]["managedFields"] if each["manager"] == "reporter")
    assert (entry["subresource"], entry["fieldsV1"]) == ("status", {"f:status": {"f:ready": {}}})


async def test_patches_of_custom_kinds(api, widgets):
    path, widget = widgets
    await api.ok("POST", path, widget(parts=[{"name": "p"}]))
    patch = [{"op": "add", "path": "/spec/parts/-", "value": {"name": "q"}}]
    assert len((await api.ok("PATCH", f"{path}/w", patch, JSON_PATCH))["spec"]["parts"]) == 2
    assert (await api("PATCH", f"{path}/w", {"spec": {"size": 2}}, STRATEGIC)).code == 415
    # null takes a field away, and its default comes back.
    await api.ok("PATCH", f"{path}/w", {"spec": {"limit": 20}}, MERGE)
    assert (await api.ok("PATCH", f"{path}/w", {"spec": {"limit": None}}, MERGE))["spec"]["limit"] == 10


async def test_columns_of_the_definition(api, widgets):
    path, widget = widgets
    await api.ok("POST", path, widget(color="red"))
    table = await api.ok("GET", path, accept="application/json;as=Table;v=v1;g=meta.k8s.io")
    assert [(each["name"], each["priority"]) for each in table["columnDefinitions"]] == [
        ("Name", 0),
        ("Size", 0),
        ("Color", 1),
    ]
    assert table["rows"][0]["cells"] == ["w", 1, "red"]


async def test_kind_goes_with_its_definition(api):
    crd = widget_crd()
    async with api.definition(crd) as path:
        found = await api.ok("GET", f"{CRDS}/{crd['metadata']['name']}")
        conditions = {each["type"]: each["status"] for each in found["status"]["conditions"]}
        assert conditions["Established"] == "True"
        assert found["spec"]["names"]["listKind"] == "WidgetList"

    async def gone():
        return (await api("GET", path)).code == 404

    await api.until(gone)


@pytest.mark.parametrize(
    ("bad", "code"),
    [
        ({}, 422),
        ({"type": "thing"}, 422),
        ({"type": "array", "items": {"type": []}}, 400),
        ({"type": "array", "items": {"type": "object", "properties": {"a": 1}}}, 400),
        ({"type": "integer", "x-kubernetes-validations": [{"rule": "self +"}]}, 422),
    ],
)
async def test_bad_definition_is_refused(api, bad, code):
    crd = widget_crd()
    crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["bad"] = bad
    answer = await api("POST", CRDS, crd)
    assert answer.code == code, answer.body
    assert (await api("GET", f"{CRDS}/{crd['metadata']['name']}")).code == 404


def llm(**spec):
    model, accelerator = {"uri": "file:///models/tiny"}, {"type": "cpu"}
    body = {"model": model, "accelerator": accelerator, **spec}
    return {"apiVersion": "manta.dev/v1alpha1", "kind": "LLMDeployment", "metadata": {"name": "m"}, "spec": body}


async def test_our_kind_is_filled_in(api):
    async with api.definition(OURS) as path:
        made = await api.ok("POST", path, llm())
    spec = made["spec"]
    rollout = {"surge": "auto", "unavailable": "auto", "drainSeconds": 60}
    assert (spec["replicas"], spec["router"]["replicas"], spec["rollout"]) == (1, 2, rollout)
    assert (spec["engine"]["gpuMemoryUtilization"], spec["engine"]["prefixCaching"]) == (90, True)


@pytest.mark.parametrize(
    ("spec", "field", "text"),
    [
        ({"model": {"uri": "ftp://x"}}, "spec.model", "hf://"),
        ({"model": {"uri": "file:///m", "revision": "a"}}, "spec.model", "hf://"),
        ({"replicas": -1}, "spec.replicas", "greater than or equal to 0"),
        ({"engine": {"args": ["--port=1"]}}, "spec.engine.args", "port"),
        ({"engine": {"dtype": "float99"}}, "spec.engine.dtype", "bfloat16"),
        ({"parallelism": {"tensor": 0}}, "spec.parallelism.tensor", "greater than or equal to 1"),
    ],
)
async def test_our_kind_is_checked(api, spec, field, text):
    async with api.definition(OURS) as path:
        found = causes(await api("POST", path, llm(**spec)))
    assert any(where.startswith(field) and text in message for where, message in found.items()), found


async def test_our_kind_scales_and_keeps_its_status_apart(api):
    async with api.definition(OURS) as path:
        await api.ok("POST", path, llm())
        await api.ok("PATCH", f"{path}/m/scale", {"spec": {"replicas": 3}}, MERGE)
        told = await api.apply(f"{path}/m/status", {**llm(), "status": {"replicas": 2, "selector": "a=b"}}, "manta")
        assert (told.code, told.body["spec"]["replicas"], told.body["metadata"]["generation"]) == (200, 3, 2)
        assert (await api.ok("GET", f"{path}/m/scale"))["status"] == {"replicas": 2, "selector": "a=b"}
