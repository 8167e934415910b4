"""The world of the conformance suite: our API server, or any other one.

MANTA_CONFORMANCE_URL and MANTA_CONFORMANCE_TOKEN name another server; MANTA_CONFORMANCE_CA is the file with its CA's
certificate (without it, its certificate is not checked). Every test has a namespace of its own, which goes afterwards,
and so do the CustomResourceDefinitions that it brings.
"""

import asyncio
import contextlib
import json
import os
import ssl
import uuid
from dataclasses import dataclass

import aiohttp
import pytest

from manta_operator.box.apiserver.server import ApiServer

MERGE = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
APPLY = "application/apply-patch+yaml"
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


@dataclass(frozen=True)
class Answer:
    code: int
    body: dict
    headers: dict

    @property
    def version(self):
        return self.body["metadata"]["resourceVersion"]


class Api:
    """Requests, and short words for what tests do most. `space` is the test's own namespace."""

    def __init__(self, session, space) -> None:
        self._session, self.space = session, space
        self.maps = f"/api/v1/namespaces/{space}/configmaps"
        self.deployments = f"/apis/apps/v1/namespaces/{space}/deployments"

    async def __call__(self, method, path, body=None, kind="application/json", accept="application/json", **more):
        data = body if body is None or isinstance(body, str) else json.dumps(body)
        headers = {"Content-Type": kind, "Accept": accept, "User-Agent": "conformance", **more}
        async with self._session.request(method, path, data=data, headers=headers) as answer:
            text = await answer.text()
            return Answer(answer.status, _parsed(text), answer.headers.copy())

    async def ok(self, *request, **more):
        """Ask for what must succeed; the object it answers with."""
        answer = await self(*request, **more)
        assert answer.code < 300, answer.body
        return answer.body

    async def apply(self, path, body, manager, *, force=False):
        query = f"fieldManager={manager}&force={str(force).lower()}"
        return await self("PATCH", f"{path}?{query}", body, APPLY)

    async def watch(self, path, seconds=1, **query):
        """Everything a watch tells within a time; the answer itself, if it is no success."""
        params = {"watch": "true", "timeoutSeconds": str(seconds), **query}
        async with self._session.get(path, params=params) as answer:
            events = [json.loads(line) for line in (await answer.text()).splitlines()]
            return events if answer.status == 200 else [{"type": "ERROR", "object": events[0]}]

    async def until(self, holds, seconds=60):
        """Ask again until something holds."""
        for _ in range(seconds * 10):
            if await holds():
                return
            await asyncio.sleep(0.1)
        pytest.fail(f"it did not come true within {seconds} s")

    @contextlib.asynccontextmanager
    async def definition(self, crd):
        """Serve the kinds of a CRD; one that this did not bring stays."""
        spec = crd["spec"]
        brought = (await self("POST", CRDS, crd)).code == 201
        path = f"/apis/{spec['group']}/{spec['versions'][0]['name']}/namespaces/{self.space}/{spec['names']['plural']}"

        async def served():
            return (await self("GET", path)).code == 200

        try:
            await self.until(served)
            yield path
        finally:
            if brought:
                await self("DELETE", f"{CRDS}/{crd['metadata']['name']}")


def _parsed(text):
    """JSON, whatever its Content-Type says; plain words (`404 page not found`) as a message."""
    try:
        return json.loads(text or "{}")
    except json.JSONDecodeError:
        return {"message": text}


def _tls():
    authority = os.environ.get("MANTA_CONFORMANCE_CA")
    return ssl.create_default_context(cafile=authority) if authority else False


@contextlib.asynccontextmanager
async def connected():
    """One API server and one namespace."""
    url, token, server = os.environ.get("MANTA_CONFORMANCE_URL"), os.environ.get("MANTA_CONFORMANCE_TOKEN", "t"), None
    if url is None:
        server = ApiServer(token=token, service_addresses=iter(["127.2.252.1"]))
        await server.start("127.0.0.1", 0, None)
        url = f"http://127.0.0.1:{server.port}"
    headers = {"Authorization": f"Bearer {token}"}
    connector = aiohttp.TCPConnector(ssl=_tls())
    async with aiohttp.ClientSession(url, headers=headers, connector=connector) as session:
        found = Api(session, f"manta-conformance-{uuid.uuid4().hex[:8]}")
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": found.space}}
        await found.ok("POST", "/api/v1/namespaces", namespace)
        yield found
        await found.ok("DELETE", f"/api/v1/namespaces/{found.space}")
    if server:
        await server.stop()


def config_map(name="c", labels=None, **data):
    meta = {"name": name, **({"labels": labels} if labels else {})}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": data}


def deployment(*containers, replicas=0):
    """A Deployment of no pods, so that nothing runs where the server has a kubelet."""
    pod = {"containers": list(containers) or [{"name": "a", "image": "a:1"}]}
    template = {"metadata": {"labels": {"app": "d"}}, "spec": pod}
    spec = {"replicas": replicas, "selector": {"matchLabels": {"app": "d"}}, "template": template}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "spec": spec}


def service(*ports, **spec):
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}, "spec": {"ports": list(ports), **spec}}


def causes(answer):
    """The fields that a server refuses, with what is wrong with them."""
    assert (answer.code, answer.body["reason"]) == (422, "Invalid"), answer.body
    return {cause["field"]: cause["message"] for cause in answer.body["details"]["causes"]}


def names(listed):
    return [item["metadata"]["name"] for item in listed["items"]]


WIDGET_SPEC = {
    "type": "object",
    "required": ["size"],
    "x-kubernetes-validations": [
        {"rule": "self.size <= self.limit", "message": "size must not exceed limit"},
        {"rule": "self.size >= oldSelf.size", "message": "size cannot shrink"},
    ],
    "properties": {
        "size": {"type": "integer", "minimum": 0},
        "limit": {"type": "integer", "default": 10},
        "color": {
            "type": "string",
            "enum": ["red", "blue"],
            "x-kubernetes-validations": [{"rule": "self == oldSelf", "message": "color is immutable"}],
        },
        "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
        "parts": {
            "type": "array",
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["name"],
            "items": {
                "type": "object",
                "required": ["name"],
                "properties": {
                    "name": {"type": "string"},
                    "count": {"type": "integer", "default": 1},
                    "note": {"type": "string"},
                },
            },
        },
        "tags": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
        "pair": {"type": "array", "items": {"type": "string"}},
        "ref": {
            "type": "object",
            "x-kubernetes-map-type": "atomic",
            "properties": {"a": {"type": "string"}, "b": {"type": "string"}},
        },
    },
}
WIDGET_STATUS = {
    "type": "object",
    "properties": {"ready": {"type": "integer"}, "selector": {"type": "string"}},
}


def widget_crd():
    """A kind of this run alone, with everything that structural schemas offer."""
    group = f"c{uuid.uuid4().hex[:8]}.conformance.manta.dev"
    schema = {"type": "object", "properties": {"spec": WIDGET_SPEC, "status": WIDGET_STATUS}}
    scale = {
        "specReplicasPath": ".spec.size",
        "statusReplicasPath": ".status.ready",
        "labelSelectorPath": ".status.selector",
    }
    version = {
        "name": "v1",
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": schema},
        "subresources": {"status": {}, "scale": scale},
        "additionalPrinterColumns": [
            {"name": "Size", "type": "integer", "jsonPath": ".spec.size"},
            {"name": "Color", "type": "string", "jsonPath": ".spec.color", "priority": 1},
        ],
    }
    kind = {"plural": "widgets", "singular": "widget", "kind": "Widget", "shortNames": ["wd"]}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"widgets.{group}"},
        "spec": {"group": group, "scope": "Namespaced", "names": kind, "versions": [version]},
    }
