"""Cases any Kubernetes API server passes: ours by default, a real one with MANTA_CONFORMANCE_URL and _TOKEN."""

import json
import os
import uuid

import aiohttp
import pytest

from manta_operator.box.apiserver.server import ApiServer

pytestmark = pytest.mark.integration
MAPS = "/api/v1/namespaces/default/configmaps"
MERGE = "application/merge-patch+json"


@pytest.fixture
async def call():
    url, token, server = os.environ.get("MANTA_CONFORMANCE_URL"), os.environ.get("MANTA_CONFORMANCE_TOKEN", "t"), None
    if url is None:
        server = ApiServer(token=token, service_addresses=iter(()))
        await server.start("127.0.0.1", 0, None)
        url = f"http://127.0.0.1:{server._runner.addresses[0][1]}"
    headers = {"Authorization": f"Bearer {token}"}
    async with aiohttp.ClientSession(url, headers=headers, connector=aiohttp.TCPConnector(ssl=False)) as session:

        async def request(method, path, body=None, kind="application/json"):
            data = body if body is None or isinstance(body, str) else json.dumps(body)
            async with session.request(method, path, data=data, headers={"Content-Type": kind}) as answer:
                text = await answer.text()
                return answer.status, [
                    json.loads(line) for line in text.splitlines() if line
                ] if "watch=" in path else json.loads(text)

        yield request
    if server:
        await server.stop()


def config_map(**data):
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": f"c-{uuid.uuid4().hex[:8]}"}, "data": data}


async def test_watch_tells_what_came_after_a_version(call):
    _, made = await call("POST", MAPS, config_map(a="1"))
    name, version = made["metadata"]["name"], made["metadata"]["resourceVersion"]
    await call("PATCH", f"{MAPS}/{name}", {"data": {"a": "2"}}, MERGE)
    await call("DELETE", f"{MAPS}/{name}")
    query = f"watch=true&resourceVersion={version}&fieldSelector=metadata.name%3D{name}&timeoutSeconds=1"
    _, events = await call("GET", f"{MAPS}?{query}")
    assert [event["type"] for event in events] == ["MODIFIED", "DELETED"]


async def test_stale_version_is_a_conflict(call):
    _, made = await call("POST", MAPS, config_map(a="1"))
    path = f"{MAPS}/{made['metadata']['name']}"
    await call("PATCH", path, {"data": {"a": "2"}}, MERGE)
    code, answer = await call("PUT", path, made)
    assert (code, answer["reason"]) == (409, "Conflict")


@pytest.mark.parametrize("body", ["{", "[]", "null", '{"metadata": 3}', '{"data": {"a": 1}}'])
async def test_bad_bodies_are_bad_requests(call, body):
    code, answer = await call("POST", MAPS, body)
    assert (code, answer["kind"], answer["status"]) == (400, "Status", "Failure")


async def test_plain_write_takes_ownership_from_an_applier(call):
    body = config_map(a="1")
    path = f"{MAPS}/{body['metadata']['name']}"
    await call("PATCH", f"{path}?fieldManager=one", json.dumps(body), "application/apply-patch+yaml")
    await call("PATCH", f"{path}?fieldManager=two", {"data": {"a": "2"}}, MERGE)
    code, answer = await call("PATCH", f"{path}?fieldManager=one", json.dumps(body), "application/apply-patch+yaml")
    assert code == 409
    assert answer["details"]["causes"][0]["field"] == ".data.a"
