"""What any Kubernetes API server does with patches: the three plain ones, and server-side apply with its owners."""

import pytest
from conformance import APPLY, JSON_PATCH, MERGE, STRATEGIC, causes, config_map, connected, deployment

pytestmark = pytest.mark.integration


@pytest.fixture
async def api():
    async with connected() as found:
        yield found


async def test_merge_patch(api):
    await api.ok("POST", api.maps, config_map(a="1", b="2"))
    changed = await api.ok("PATCH", f"{api.maps}/c", {"data": {"a": None, "c": "3"}}, MERGE)
    assert changed["data"] == {"b": "2", "c": "3"}


async def test_json_patch(api):
    await api.ok("POST", api.maps, config_map(a="1", b="2"))
    patch = [
        {"op": "test", "path": "/data/a", "value": "1"},
        {"op": "remove", "path": "/data/a"},
        {"op": "add", "path": "/metadata/labels", "value": {"x": "y"}},
    ]
    changed = await api.ok("PATCH", f"{api.maps}/c", patch, JSON_PATCH)
    assert (changed["data"], changed["metadata"]["labels"]) == ({"b": "2"}, {"x": "y"})


@pytest.mark.parametrize(
    ("patch", "code"),
    [
        ([{"op": "test", "path": "/data/a", "value": "other"}], 422),
        ([{"op": "remove", "path": "/data/nothing"}], 422),
        ([{"op": "fly", "path": "/data/a"}], 422),
        ([3], 400),
        ({"op": "remove", "path": "/data/a"}, 400),
    ],
)
async def test_bad_json_patches_change_nothing(api, patch, code):
    made = await api.ok("POST", api.maps, config_map(a="1"))
    answer = await api("PATCH", f"{api.maps}/c", patch, JSON_PATCH)
    assert (answer.code, answer.body["kind"]) == (code, "Status")
    said = "the server rejected our request due to an error in our request"
    assert answer.body["message"].startswith(said) == (code == 422)
    assert await api.ok("GET", f"{api.maps}/c") == made


@pytest.mark.parametrize(
    ("patch", "kind", "query"),
    [
        ({"bogus": 1}, MERGE, "?fieldValidation=Strict"),
        ({"data": {"a": 1}}, MERGE, ""),
        ({"data": 3}, STRATEGIC, ""),
        ([{"op": "replace", "path": "/data", "value": 3}], JSON_PATCH, ""),
    ],
)
async def test_patches_that_leave_no_such_object_are_invalid(api, patch, kind, query):
    made = await api.ok("POST", api.maps, config_map(a="1"))
    found = causes(await api("PATCH", f"{api.maps}/c{query}", patch, kind))
    assert list(found) == ["patch"]
    assert await api.ok("GET", f"{api.maps}/c") == made


async def test_no_patch_changes_the_uid(api):
    await api.ok("POST", api.maps, config_map())
    answer = await api("PATCH", f"{api.maps}/c", {"metadata": {"uid": "x"}}, MERGE)
    assert causes(answer) == {"metadata.uid": 'Invalid value: "x": field is immutable'}


async def test_unknown_patch_type(api):
    await api.ok("POST", api.maps, config_map())
    assert (await api("PATCH", f"{api.maps}/c", {}, "application/json")).code == 415


def container(name, **more):
    return {"name": name, "image": f"{name}:1", **more}


def containers_of(obj):
    return obj["spec"]["template"]["spec"]["containers"]


async def strategic(api, **pod):
    patch = {"spec": {"template": {"spec": pod}}}
    return containers_of(await api.ok("PATCH", f"{api.deployments}/d", patch, STRATEGIC))


async def test_strategic_merge_patch_of_a_list_map(api):
    await api.ok("POST", api.deployments, deployment(container("a"), container("b"), container("c")))
    changed = await strategic(
        api, containers=[{"name": "b", "image": "b:2"}, {"name": "a", "$patch": "delete"}, container("d")]
    )
    assert {each["name"]: each["image"] for each in changed} == {"b": "b:2", "c": "c:1", "d": "d:1"}


async def test_strategic_merge_patch_orders(api):
    await api.ok("POST", api.deployments, deployment(container("a"), container("b")))
    order = {"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}]}
    changed = await strategic(api, containers=[{"name": "a", "image": "a:2"}], **order)
    assert [each["image"] for each in changed] == ["b:1", "a:2"]


async def test_apply_creates_merges_and_drops(api):
    path = f"{api.maps}/c"
    assert (await api.apply(path, config_map(a="1", b="2"), "one")).code == 201
    assert (await api.apply(path, config_map(c="3"), "two")).body["data"] == {"a": "1", "b": "2", "c": "3"}
    answer = await api.apply(path, config_map(a="1"), "one")
    assert (answer.code, answer.body["data"]) == (200, {"a": "1", "c": "3"})
    owned = {entry["manager"]: entry for entry in answer.body["metadata"]["managedFields"]}
    assert owned["one"]["fieldsV1"] == {"f:data": {"f:a": {}}}
    assert owned["two"]["fieldsV1"] == {"f:data": {"f:c": {}}}
    assert (owned["one"]["operation"], owned["one"]["fieldsType"]) == ("Apply", "FieldsV1")


async def test_same_apply_has_no_new_version(api):
    first = await api.apply(f"{api.maps}/c", config_map(a="1"), "one")
    assert (await api.apply(f"{api.maps}/c", config_map(a="1"), "one")).version == first.version


async def test_conflicts_name_managers_and_fields(api):
    path = f"{api.maps}/c"
    await api.apply(path, config_map(a="1", b="1"), "one")
    answer = await api.apply(path, config_map(a="2", b="1"), "two")
    assert (answer.code, answer.body["reason"]) == (409, "Conflict")
    assert answer.body["message"] == 'Apply failed with 1 conflict: conflict with "one": .data.a'
    (cause,) = answer.body["details"]["causes"]
    assert cause == {"reason": "FieldManagerConflict", "message": 'conflict with "one"', "field": ".data.a"}


async def test_force_takes_over_and_sharing_needs_none(api):
    path = f"{api.maps}/c"
    await api.apply(path, config_map(a="1", b="1"), "one")
    forced = await api.apply(path, config_map(a="2", b="1"), "two", force=True)
    owned = {entry["manager"]: entry["fieldsV1"]["f:data"] for entry in forced.body["metadata"]["managedFields"]}
    assert owned == {"one": {"f:b": {}}, "two": {"f:a": {}, "f:b": {}}}
    left = await api.apply(path, config_map(a="2"), "two")
    assert left.body["data"] == {"a": "2", "b": "1"}


async def test_plain_write_takes_ownership_from_an_applier(api):
    path = f"{api.maps}/c"
    await api.apply(path, config_map(a="1"), "one")
    await api.ok("PATCH", f"{path}?fieldManager=two", {"data": {"a": "2"}}, MERGE)
    answer = await api.apply(path, config_map(a="1"), "one")
    assert answer.code == 409
    assert answer.body["details"]["causes"][0]["field"] == ".data.a"
    assert 'conflict with "two" using v1' in answer.body["message"]


async def test_apply_merges_list_maps_by_key(api):
    path = f"{api.deployments}/d"
    await api.apply(path, deployment(container("a", env=[{"name": "X", "value": "1"}])), "one")
    other = deployment({"name": "a", "env": [{"name": "Y", "value": "2"}]}, container("b"))
    answer = await api.apply(path, other, "two", force=True)
    first, second = containers_of(answer.body)
    assert (first["image"], [each["name"] for each in first["env"]], second["name"]) == ("a:1", ["X", "Y"], "b")
    left = containers_of((await api.apply(path, deployment(container("a")), "two", force=True)).body)
    assert [each["name"] for each in left] == ["a"]
    assert [each["name"] for each in left[0]["env"]] == ["X"]


async def test_apply_takes_the_applied_order(api):
    path = f"{api.deployments}/d"
    await api.apply(path, deployment(container("a"), container("b")), "one")
    turned = await api.apply(path, deployment(container("b"), container("a")), "one")
    assert [each["name"] for each in containers_of(turned.body)] == ["b", "a"]


async def test_apply_drops_a_struct_with_its_defaults(api):
    path, probe = f"{api.deployments}/d", {"httpGet": {"port": 80}}
    filled = await api.apply(path, deployment(container("a", readinessProbe=probe)), "one")
    assert containers_of(filled.body)[0]["readinessProbe"]["periodSeconds"] == 10
    left = await api.apply(path, deployment(container("a")), "one")
    assert "readinessProbe" not in containers_of(left.body)[0]


async def test_apply_needs_a_manager_and_no_owners_of_its_own(api):
    answer = await api("PATCH", f"{api.maps}/c", config_map(), APPLY)
    said = 'PatchOptions.meta.k8s.io "" is invalid: fieldManager: Required value: is required for apply patch'
    assert (answer.code, answer.body["message"]) == (422, said)
    body = config_map()
    body["metadata"]["managedFields"] = [{"manager": "one", "operation": "Apply", "apiVersion": "v1"}]
    assert (await api.apply(f"{api.maps}/c", body, "one")).code == 400


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"kind": "Deployment"}, "invalid object type: /, Kind=Deployment"),
        ({"apiVersion": "apps/v1"}, "invalid object type: apps/v1, Kind="),
        ({"apiVersion": "apps/v1", "kind": "StatefulSet"}, "invalid object type: apps/v1, Kind=StatefulSet"),
        ({"apiVersion": "v1", "kind": "Deployment"}, "invalid object type: /v1, Kind=Deployment"),
    ],
)
async def test_apply_says_what_it_applies(api, given, said):
    answer = await api.apply(f"{api.deployments}/d", {**given, "metadata": {"name": "d"}}, "one")
    assert (answer.code, answer.body["message"]) == (400, said)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"bogus": 1}, "Kind=ConfigMap): .bogus: field not declared in schema"),
        ({"data": {"a": 3}}, "Kind=ConfigMap): .data.a: "),
        ({"data": 3}, "Kind=ConfigMap): .data: "),
    ],
)
async def test_apply_of_what_the_schema_does_not_have(api, wrong, said):
    answer = await api.apply(f"{api.maps}/c", {**config_map(), **wrong}, "one")
    assert (answer.code, "reason" in answer.body) == (500, False)
    assert answer.body["message"].startswith("failed to create typed patch object (/c; /v1, ")
    assert said in answer.body["message"]
    assert (await api("GET", f"{api.maps}/c")).code == 404


async def test_applied_empty_object_takes_nothing_away(api):
    await api.ok("POST", api.maps, config_map(a="1"))
    answer = await api.apply(f"{api.maps}/c", config_map(), "one")
    assert (answer.code, answer.body["data"]) == (200, {"a": "1"})


async def test_apply_for_what_has_gone_is_a_conflict_or_not_found(api):
    body = config_map()
    body["metadata"]["uid"] = "11111111-1111-1111-1111-111111111111"
    assert (await api.apply(f"{api.maps}/c", body, "one")).code in (404, 409)
    assert (await api("GET", f"{api.maps}/c")).code == 404
