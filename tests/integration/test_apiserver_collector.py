"""The garbage collector on the real API server."""

import asyncio
import contextlib

import pytest

from manta_operator.box.apiserver.server import ApiServer
from manta_operator.box.workloads.collector import GarbageCollector
from manta_operator.box.workloads.runner import Runner

pytestmark = pytest.mark.integration


@pytest.fixture
async def cluster():
    found = ApiServer(token="t", service_addresses=iter(())).cluster
    running = asyncio.create_task(Runner(found, (GarbageCollector(found),)).run())
    yield found
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running


def config_map(name, *owners):
    meta = {"name": name, "namespace": "default", **({"ownerReferences": list(owners)} if owners else {})}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta}


def reference(uid, kind="ConfigMap", api_version="v1"):
    return {"apiVersion": api_version, "kind": kind, "name": "owner", "uid": uid}


async def until_gone(cluster, name):
    for _ in range(3000):
        if cluster.find("ConfigMap", "default", name) is None:
            return
        await asyncio.sleep(0.02)
    pytest.fail(f"{name} is still there after a minute")


async def test_dependents_go_with_their_owner(cluster):
    owner = cluster.create(config_map("owner"))
    cluster.create(config_map("child", reference(owner["metadata"]["uid"])))
    await asyncio.sleep(0.1)
    assert cluster.find("ConfigMap", "default", "child") is not None
    cluster.delete("ConfigMap", "default", "owner")
    await until_gone(cluster, "child")


async def test_dependents_of_kinds_nobody_serves_stay(cluster):
    cluster.create(config_map("kept", reference("0-1", "Mystery", "example.org/v1")))
    cluster.create(config_map("lost", reference("0-2")))
    await until_gone(cluster, "lost")
    assert cluster.find("ConfigMap", "default", "kept") is not None
