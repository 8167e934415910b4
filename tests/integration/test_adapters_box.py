"""Adapters of an LLMDeployment on the box: operator, engines (simulated), fetching containers and router together."""

import asyncio
import time

import aiohttp
import pytest
import yaml
from fetch_hub import FakeHub
from lora import adapter_files
from running import start_box, stop_box, wait_ready

from manta_operator.controller.client import connect

TOKEN = "hf_only-the-fetch-may-see-this"
SECONDS = 120
KIND = ("manta.dev/v1alpha1", "LLMDeployment", "default", "tiny")


@pytest.fixture(scope="module")
def hub():
    with FakeHub(adapter_files(1), token=TOKEN) as hub:
        yield hub


@pytest.fixture(scope="module")
def box(tmp_path_factory):
    folder = tmp_path_factory.mktemp("box")
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump(manifest()))
    running = start_box(folder / "box", str(path))
    yield running
    assert stop_box(running) == 0, running.words.read_text()


@pytest.fixture
async def client(box, tmp_path):
    async with connect(tmp_path, box.state.kubeconfig) as connected:
        yield connected


def manifest(*adapters):
    """Two replicas of the tiny model with room for adapters."""
    engine = {
        "maxModelLen": 1024,
        "resources": {"cpu": "50m", "memory": "64Mi"},
        "lora": {},
        "env": [{"name": "MANTA_ENGINE", "value": "simulate"}, {"name": "NO_PROXY", "value": "*"}],
        "args": ["--simulate-startup-seconds=0"],
    }
    weights = {"uri": "file:///var/lib/manta/models/tiny", "adapters": list(adapters)}
    spec = {
        "model": weights,
        "accelerator": {"type": "cpu"},
        "replicas": 2,
        "engine": engine,
        "router": {"replicas": 1},
    }
    return {
        "apiVersion": KIND[0],
        "kind": KIND[1],
        "metadata": {"name": "tiny", "namespace": "default"},
        "spec": spec,
    }


async def ask(client, model):
    """The status of the router's answer for a model, and the text of a good one."""
    service = await client.get("v1", "Service", "default", "tiny")
    url = f"http://{service['spec']['clusterIP']}:{service['spec']['ports'][0]['port']}"
    body = {"model": model, "prompt": "What is a manta", "max_tokens": 8, "temperature": 0}
    async with aiohttp.ClientSession() as session, session.post(f"{url}/v1/completions", json=body) as response:
        answer = await response.json()
    return response.status, answer["choices"][0]["text"] if response.status == 200 else ""


async def want(client, *adapters):
    """Change the list."""
    names = {"apiVersion": KIND[0], "kind": KIND[1], "metadata": {"name": KIND[3], "namespace": KIND[2]}}
    await client.merge(names | {"spec": {"model": {"adapters": list(adapters)}}})


async def until(client, holds):
    """Wait until the status of the deployment is as `holds` wants it; returns the status."""
    deadline, status = time.monotonic() + SECONDS, {}
    while time.monotonic() < deadline:
        status = (await client.get(*KIND)).get("status") or {}
        if holds(status):
            return status
        await asyncio.sleep(0.2)
    raise AssertionError(f"never so: {status.get('adapters')} {condition(status)}")


def condition(status):
    """The condition AdaptersLoaded: status and reason."""
    found = next((each for each in status.get("conditions", ()) if each["type"] == "AdaptersLoaded"), None)
    return found and (found["status"], found["reason"], found["message"])


def is_loaded(status):
    return condition(status) is not None and condition(status)[0] == "True"


async def test_an_adapter_comes_fails_and_goes_without_a_rollout(hub, box, client):
    await wait_ready(box, client, "tiny", 2)
    revision = (await client.get(*KIND))["status"]["revision"]
    _, base = await ask(client, "tiny")
    assert (await ask(client, "poet"))[0] == 404
    poet = {"name": "poet", "uri": "hf://org/model", "endpoint": hub.endpoint, "credentialsSecret": "hub"}
    await client.create(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "hub", "namespace": "default"},
            "stringData": {"HF_TOKEN": TOKEN},
        }
    )
    await want(client, poet)
    await until(client, lambda status: is_loaded(status) and status["adapters"][0]["loaded"] == 2)
    async with asyncio.timeout(SECONDS):
        while (await ask(client, "poet"))[0] != 200:  # noqa: ASYNC110 - the router looks every so often
            await asyncio.sleep(0.2)
    assert (await ask(client, "poet"))[1] != base
    assert (await ask(client, "tiny")) == (200, base)
    missing = poet | {"name": "ghost", "uri": "hf://org/nobody"}
    await want(client, poet, missing)
    status = await until(client, lambda status: condition(status)[1] == "AdapterFailed")
    assert "ghost" in condition(status)[2]
    assert "has no such model" in condition(status)[2], "in the words of the fetch"
    assert (await ask(client, "poet"))[0] == 200
    await want(client)
    await until(client, lambda status: not status.get("adapters") and condition(status) is None)
    async with asyncio.timeout(SECONDS):
        while (await ask(client, "poet"))[0] != 404:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.2)
    assert (await ask(client, "tiny")) == (200, base)
    assert (await client.get(*KIND))["status"]["revision"] == revision
