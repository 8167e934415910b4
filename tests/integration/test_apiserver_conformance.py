"""What any Kubernetes API server does with objects: reading, writing, deleting, listing, watching, discovery.

Runs on ours by default, on any other one as support/conformance.py says. Its sisters: _patches and _custom.
"""

import pytest
from conformance import MERGE, causes, config_map, connected, deployment, names

pytestmark = pytest.mark.integration


@pytest.fixture
async def api():
    async with connected() as found:
        yield found


async def test_create_read_update_delete(api):
    made = await api.ok("POST", api.maps, config_map(a="1"))
    assert made["metadata"]["uid"]
    assert made["metadata"]["namespace"] == api.space
    assert await api.ok("GET", f"{api.maps}/c") == made
    made["data"]["a"] = "2"
    changed = await api.ok("PUT", f"{api.maps}/c", made)
    assert changed["data"] == {"a": "2"}
    assert changed["metadata"]["resourceVersion"] != made["metadata"]["resourceVersion"]
    assert (await api.ok("DELETE", f"{api.maps}/c"))["status"] == "Success"
    answer = await api("GET", f"{api.maps}/c")
    assert (answer.code, answer.body["reason"], answer.body["details"]["name"]) == (404, "NotFound", "c")


async def test_write_that_changes_nothing_has_no_new_version(api):
    made = await api.ok("POST", api.maps, config_map(a="1"))
    same = await api.ok("PUT", f"{api.maps}/c", made)
    assert same["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]


async def test_name_that_is_taken(api):
    await api.ok("POST", api.maps, config_map())
    answer = await api("POST", api.maps, config_map())
    assert (answer.code, answer.body["reason"]) == (409, "AlreadyExists")


async def test_stale_version_is_a_conflict(api):
    made = await api.ok("POST", api.maps, config_map(a="1"))
    await api.ok("PATCH", f"{api.maps}/c", {"data": {"a": "2"}}, MERGE)
    answer = await api("PUT", f"{api.maps}/c", made)
    assert (answer.code, answer.body["reason"]) == (409, "Conflict")
    stale = {"metadata": {"resourceVersion": made["metadata"]["resourceVersion"]}, "data": {"a": "3"}}
    assert (await api("PATCH", f"{api.maps}/c", stale, MERGE)).code == 409


async def test_generation_counts_changes_of_the_spec_alone(api):
    made = await api.ok("POST", api.deployments, deployment())
    assert made["metadata"]["generation"] == 1
    labelled = await api.ok("PATCH", f"{api.deployments}/d", {"metadata": {"labels": {"a": "b"}}}, MERGE)
    assert labelled["metadata"]["generation"] == 1
    changed = await api.ok("PATCH", f"{api.deployments}/d", {"spec": {"minReadySeconds": 3}}, MERGE)
    assert changed["metadata"]["generation"] == 2


async def test_what_the_server_decides_cannot_be_written(api):
    body = config_map()
    body["metadata"] |= {"uid": "mine", "generation": 7, "creationTimestamp": "2001-01-01T00:00:00Z"}
    made = await api.ok("POST", api.maps, body)
    assert made["metadata"]["uid"] != "mine"
    assert made["metadata"]["creationTimestamp"] > "2020"
    patch = {"metadata": {"creationTimestamp": "2001-01-01T00:00:00Z"}}
    patched = await api.ok("PATCH", f"{api.maps}/c", patch, MERGE)
    assert patched["metadata"]["creationTimestamp"] == made["metadata"]["creationTimestamp"]


@pytest.mark.parametrize("body", ["{", "[]", "", '{"metadata": 3}', '{"data": {"a": 1}}'])
async def test_bad_bodies_are_bad_requests(api, body):
    answer = await api("POST", api.maps, body)
    assert (answer.code, answer.body["kind"], answer.body["status"]) == (400, "Status", "Failure")


async def test_null_is_an_object_without_a_name(api):
    answer = await api("POST", api.maps, "null")
    assert causes(answer) == {"metadata.name": "Required value: name or generateName is required"}
    assert "name" not in answer.body["details"]
    assert "group" not in answer.body["details"]


async def test_bad_names_are_invalid(api):
    answer = await api("POST", api.maps, config_map("No_Name"))
    assert (answer.code, answer.body["reason"]) == (422, "Invalid")
    assert answer.body["details"]["causes"][0]["field"] == "metadata.name"


async def test_unknown_fields(api):
    body = {**config_map(), "dota": {}}
    strict = await api("POST", f"{api.maps}?fieldValidation=Strict", body)
    assert (strict.code, 'unknown field "dota"' in strict.body["message"]) == (400, True)
    warned = await api("POST", f"{api.maps}?fieldValidation=Warn", body)
    assert (warned.code, 'unknown field \\"dota\\"' in warned.headers["Warning"]) == (201, True)
    ignored = await api("PUT", f"{api.maps}/c?fieldValidation=Ignore", body)
    assert (ignored.code, "Warning" in ignored.headers, "dota" in ignored.body) == (200, False, False)


async def test_generated_names_differ(api):
    body = config_map()
    body["metadata"] = {"generateName": "g-"}
    first, second = [(await api.ok("POST", api.maps, body))["metadata"]["name"] for _ in range(2)]
    assert first != second
    assert first.startswith("g-")
    assert len(first) == 7


async def test_dry_run_stores_nothing(api):
    made = await api.ok("POST", f"{api.maps}?dryRun=All", config_map(a="1"))
    assert made["metadata"]["uid"]
    assert (await api("GET", f"{api.maps}/c")).code == 404
    stored = await api.ok("POST", api.maps, config_map(a="1"))
    shown = await api.ok("PATCH", f"{api.maps}/c?dryRun=All", {"data": {"a": "2"}}, MERGE)
    assert shown["data"] == {"a": "2"}
    await api.ok("DELETE", f"{api.maps}/c?dryRun=All")
    assert await api.ok("GET", f"{api.maps}/c") == stored


async def test_finalizers_hold_what_is_deleted(api):
    body = config_map()
    body["metadata"]["finalizers"] = ["example.org/hold"]
    await api.ok("POST", api.maps, body)
    left = await api.ok("DELETE", f"{api.maps}/c")
    assert left["metadata"]["deletionTimestamp"]
    more = {"metadata": {"finalizers": ["example.org/hold", "example.org/late"]}}
    answer = await api("PATCH", f"{api.maps}/c", more, MERGE)
    assert (answer.code, answer.body["reason"]) == (422, "Invalid")
    await api.ok("PATCH", f"{api.maps}/c", {"metadata": {"finalizers": []}}, MERGE)
    assert (await api("GET", f"{api.maps}/c")).code == 404


async def test_delete_preconditions(api):
    await api.ok("POST", api.maps, config_map())
    answer = await api("DELETE", f"{api.maps}/c", {"preconditions": {"uid": "other"}})
    assert (answer.code, answer.body["reason"]) == (409, "Conflict")
    assert (await api("GET", f"{api.maps}/c")).code == 200


async def test_delete_collection_takes_what_the_selector_takes(api):
    for name, color in (("one", "red"), ("two", "red"), ("three", "blue")):
        await api.ok("POST", api.maps, config_map(name, {"color": color}))
    await api.ok("DELETE", f"{api.maps}?labelSelector=color%3Dred")
    assert names(await api.ok("GET", f"{api.maps}?labelSelector=color")) == ["three"]


@pytest.mark.parametrize(
    ("selector", "found"),
    [
        ("labelSelector=color%3Dred", "a"),
        ("labelSelector=color!%3Dred,mine", "b"),
        ("labelSelector=color%20in%20(red,blue)", "ab"),
        ("labelSelector=color%20notin%20(red),mine", "b"),
        ("labelSelector=!color,mine", ""),
        ("fieldSelector=metadata.name%3Db", "b"),
        ("fieldSelector=metadata.name!%3Db&labelSelector=mine", "a"),
    ],
)
async def test_selectors(api, selector, found):
    for name, color in (("a", "red"), ("b", "blue")):
        await api.ok("POST", api.maps, config_map(name, {"color": color, "mine": "yes"}))
    assert names(await api.ok("GET", f"{api.maps}?{selector}")) == list(found)


@pytest.mark.parametrize("selector", ["labelSelector=a%20in", "fieldSelector=spec.nothing%3D1", "limit=x"])
async def test_bad_selectors_are_bad_requests(api, selector):
    assert (await api("GET", f"{api.maps}?{selector}")).code == 400


async def test_pages_hold_everything_once(api):
    wanted = [f"page-{number}" for number in range(5)]
    for name in wanted:
        await api.ok("POST", api.maps, config_map(name, {"page": "yes"}))
    first = await api.ok("GET", f"{api.maps}?labelSelector=page&limit=2")
    found, token = names(first), first["metadata"]["continue"]
    while token:
        page = await api.ok("GET", f"{api.maps}?labelSelector=page&limit=2&continue={token}")
        assert len(page["items"]) <= 2
        found, token = found + names(page), page["metadata"].get("continue")
    assert found == wanted


async def test_watch_replays_what_came_after_a_version(api):
    made = await api.ok("POST", api.maps, config_map(a="1"))
    await api.ok("PATCH", f"{api.maps}/c", {"data": {"a": "2"}}, MERGE)
    await api.ok("DELETE", f"{api.maps}/c")
    after = made["metadata"]["resourceVersion"]
    events = await api.watch(api.maps, resourceVersion=after, fieldSelector="metadata.name=c")
    assert [event["type"] for event in events] == ["MODIFIED", "DELETED"]
    assert events[0]["object"]["data"] == {"a": "2"}


async def test_watch_tells_who_leaves_and_enters_a_selector(api):
    made = await api.ok("POST", api.maps, config_map(labels={"color": "red"}))
    for color in ("blue", "red"):
        await api.ok("PATCH", f"{api.maps}/c", {"metadata": {"labels": {"color": color}}}, MERGE)
    after = made["metadata"]["resourceVersion"]
    events = await api.watch(api.maps, resourceVersion=after, labelSelector="color=red")
    assert [event["type"] for event in events] == ["DELETED", "ADDED"]


async def test_watch_begins_with_what_is_there(api):
    await api.ok("POST", api.maps, config_map("one", {"mine": "yes"}))
    query = {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan", "allowWatchBookmarks": "true"}
    added, bookmark, *_ = await api.watch(api.maps, 2, labelSelector="mine", **query)
    assert (added["type"], added["object"]["metadata"]["name"]) == ("ADDED", "one")
    assert bookmark["type"] == "BOOKMARK"
    assert bookmark["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
    version = bookmark["object"]["metadata"]["resourceVersion"]
    await api.ok("POST", api.maps, config_map("two", {"mine": "yes"}))
    later = await api.watch(api.maps, labelSelector="mine", resourceVersion=version)
    assert [event["object"]["metadata"]["name"] for event in later] == ["two"]


async def test_watch_of_forgotten_versions_is_gone(api):
    (event,) = await api.watch(api.maps, resourceVersion="1")
    assert event["type"] == "ERROR"
    assert (event["object"]["code"], event["object"]["reason"]) == (410, "Expired")


async def test_discovery(api):
    assert "v1" in (await api.ok("GET", "/api"))["versions"]
    assert "apps" in [group["name"] for group in (await api.ok("GET", "/apis"))["groups"]]
    served = {kind["name"]: kind for kind in (await api.ok("GET", "/apis/apps/v1"))["resources"]}
    assert served["deployments"]["kind"] == "Deployment"
    assert served["deployments"]["shortNames"] == ["deploy"]
    assert {"deployments/status", "deployments/scale"} <= set(served)
    accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
    found = await api.ok("GET", "/apis", accept=accept)
    assert found["kind"] == "APIGroupDiscoveryList"
    assert (await api("GET", "/apis/nobody.example.org/v1")).code == 404


async def test_openapi_documents_are_named_by_their_hash(api):
    index = await api.ok("GET", "/openapi/v3")
    url = index["paths"]["apis/apps/v1"]["serverRelativeURL"]
    found = await api("GET", url)
    assert "io.k8s.api.apps.v1.Deployment" in found.body["components"]["schemas"]
    assert "immutable" in found.headers["Cache-Control"]
    again = await api("GET", url, **{"If-None-Match": found.headers["ETag"]})
    assert (again.code, again.body) == (304, {})


async def test_tables_and_metadata_alone(api):
    await api.ok("POST", api.maps, config_map(labels={"mine": "yes"}, a="1", b="2"))
    path, table = f"{api.maps}?labelSelector=mine", "application/json;as={};v=v1;g=meta.k8s.io"
    shown = await api.ok("GET", path, accept=table.format("Table"))
    assert [column["name"] for column in shown["columnDefinitions"]] == ["Name", "Data", "Age"]
    assert [row["cells"][:2] for row in shown["rows"]] == [["c", 2]]
    part = await api.ok("GET", path, accept=table.format("PartialObjectMetadataList"))
    assert part["kind"] == "PartialObjectMetadataList"
    assert "data" not in part["items"][0]
    assert names(part) == ["c"]


async def test_events_are_found_by_their_object(api):
    about = {"kind": "ConfigMap", "name": "c", "namespace": api.space, "apiVersion": "v1", "uid": "0"}
    event = {"metadata": {"generateName": "c."}, "involvedObject": about, "type": "Normal", "reason": "Seen"}
    path = f"/api/v1/namespaces/{api.space}/events"
    await api.ok("POST", path, {"apiVersion": "v1", "kind": "Event", **event, "message": "hello"})
    found = await api.ok("GET", f"{path}?fieldSelector=involvedObject.name%3Dc,involvedObject.kind%3DConfigMap")
    assert [item["message"] for item in found["items"]] == ["hello"]
    assert (await api.ok("GET", f"{path}?fieldSelector=involvedObject.name%3Dother"))["items"] == []


async def test_access_review(api):
    attributes = {"namespace": api.space, "verb": "create", "resource": "configmaps"}
    path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    body = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview"}
    found = await api.ok("POST", path, {**body, "spec": {"resourceAttributes": attributes}})
    assert found["status"]["allowed"] is True


async def test_unknown_paths_answer_with_a_status(api):
    answer = await api("GET", f"/api/v1/namespaces/{api.space}/nothings")

    assert (answer.code, answer.body["kind"], answer.body["reason"]) == (404, "Status", "NotFound")
