"""The names of objects, a page at a time, as an API server sends them."""

import aiohttp
import pytest

from manta_operator.box.apiserver.server import ApiServer
from manta_operator.controller import client as clients
from manta_operator.controller.client import KubeClient
from manta_operator.controller.kinds import CHILD_KINDS, OTHERS

OURS = {"app.kubernetes.io/managed-by": "manta"}


@pytest.fixture
async def api():
    server = ApiServer(token="t", service_addresses=())
    await server.start("127.0.0.1", 0, None)
    async with aiohttp.ClientSession(headers={"Authorization": "Bearer t"}) as session:
        yield server.cluster, KubeClient(session, f"http://127.0.0.1:{server.port}")
    await server.stop()


async def test_names_of_all_pages_but_of_no_other_objects(api, monkeypatch):
    monkeypatch.setattr(clients, "PAGE", 2)
    cluster, client = api
    for name, labels in (("a", {}), ("b", {"x": "y"}), ("c", {}), ("d", {}), ("e", {}), ("ours", OURS)):
        metadata = {"name": name, "namespace": "default", "labels": labels}
        cluster.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"big": "x" * 100}})
    found = await client.names_of("v1", "ConfigMap", "default", OTHERS)
    assert {"a", "b", "c", "d", "e"} <= found
    assert "ours" not in found


@pytest.mark.parametrize("kind", [each for each in CHILD_KINDS if not each.optional], ids=lambda each: each.kind)
async def test_every_kind_of_child_tells_its_names(api, kind):
    assert "ours" not in await api[1].names_of(kind.api_version, kind.kind, "default", OTHERS)
