"""Logs of real containers over HTTP: a real kubelet behind the API server."""

import asyncio
import contextlib
import tempfile
from pathlib import Path

import aiohttp
import pytest

from manta_operator.box.addresses import AddressPool
from manta_operator.box.apiserver.server import ApiServer
from manta_operator.box.kubelet import ImageResolver, Kubelet, NodeConfig

pytestmark = pytest.mark.integration
PODS = "/api/v1/namespaces/default/pods"


class LateKubelet:
    """Breaks the circle: the server asks the kubelet for logs, the kubelet the server for pods."""

    kubelet: Kubelet

    def log_path(self, *which):
        return self.kubelet.log_path(*which)

    def log_grows(self, *which):
        return self.kubelet.log_grows(*which)


@pytest.fixture
async def session(tmp_path):
    logs = LateKubelet()
    server = ApiServer(token="t", service_addresses=iter(()), logs=logs)
    await server.start("127.0.0.1", 0, None)
    with tempfile.TemporaryDirectory(prefix="manta-") as run:
        pods, images = AddressPool.for_pods(251), ImageResolver()
        config = NodeConfig("box", "127.0.0.1", tmp_path, Path(run), pods, images)
        logs.kubelet = Kubelet(server.cluster, config)
        running = asyncio.create_task(logs.kubelet.run())
        headers = {"Authorization": "Bearer t"}
        async with aiohttp.ClientSession(f"http://127.0.0.1:{server.port}", headers=headers) as http:
            yield http
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
    await server.stop()


async def start(session, script, says):
    """Run a pod until its log is this."""
    container = {"name": "main", "image": "any", "command": ["sh", "-c", script]}
    spec = {"nodeName": "box", "restartPolicy": "Never", "containers": [container]}
    async with session.post(PODS, json={"metadata": {"name": "p"}, "spec": spec}) as answer:
        assert answer.status == 201
    for _ in range(1200):
        async with session.get(f"{PODS}/p/log") as answer:
            if answer.status == 200 and await answer.text() == says:
                return
        await asyncio.sleep(0.05)
    pytest.fail("no such log after a minute")


async def test_followed_log_ends_with_its_container(session):
    await start(session, "echo one; sleep 2; echo two", "one\n")
    async with session.get(f"{PODS}/p/log?follow=true") as answer:
        assert await asyncio.wait_for(answer.text(), 60) == "one\ntwo\n"


async def test_followed_log_ends_with_its_pod(session):
    await start(session, "echo one; exec sleep 600", "one\n")
    async with session.get(f"{PODS}/p/log?follow=true") as answer:
        async with session.delete(f"{PODS}/p?gracePeriodSeconds=0"):
            pass
        assert await asyncio.wait_for(answer.text(), 60) == "one\n"


async def test_tail_and_unknown_containers_and_pods(session):
    await start(session, "seq 5; sleep 600", "1\n2\n3\n4\n5\n")
    async with session.get(f"{PODS}/p/log?tailLines=2") as answer:
        assert await answer.text() == "4\n5\n"
    async with session.get(f"{PODS}/p/log?container=x") as answer:
        assert (answer.status, "choose one of" in await answer.text()) == (400, True)
    async with session.get(f"{PODS}/q/log") as answer:
        assert answer.status == 404
