"""A deployment `tiny` on the box whose adapters come and go: what the tests with simulated and real engines share."""

import asyncio
import time
from typing import Any

import aiohttp
from fetch_hub import FakeHub

from manta_operator.controller.client import KubeClient

SECONDS = 120
KIND = ("manta.dev/v1alpha1", "LLMDeployment", "default", "tiny")


def manifest(replicas: int, **engine: Any) -> dict[str, Any]:
    """The tiny model with room for adapters, and none yet."""
    spec = {
        "model": {"uri": "file:///var/lib/manta/models/tiny"},
        "accelerator": {"type": "cpu"},
        "replicas": replicas,
        "engine": {"maxModelLen": 1024, "lora": {}} | engine,
        "router": {"replicas": 1},
    }
    return {
        "apiVersion": KIND[0],
        "kind": KIND[1],
        "metadata": {"name": KIND[3], "namespace": KIND[2]},
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


async def engines(client):
    """The engine pods: name, uid, and how often a container of theirs started again."""
    found = await client.list("v1", "Pod", "default", "app.kubernetes.io/component=engine")
    return {
        (
            pod["metadata"]["name"],
            pod["metadata"]["uid"],
            *(each["restartCount"] for each in pod["status"]["containerStatuses"]),
        )
        for pod in found
    }


def condition(status):
    """The condition AdaptersLoaded: status and reason."""
    found = next((each for each in status.get("conditions", ()) if each["type"] == "AdaptersLoaded"), None)
    return found and (found["status"], found["reason"], found["message"])


def is_loaded(status):
    return condition(status) is not None and condition(status)[0] == "True"


async def story(hub: FakeHub, client: KubeClient, replicas: int) -> None:
    """An adapter comes, another one fails, all go; nothing is rolled out, and the base model answers as ever."""
    pods = await engines(client)
    _, base = await ask(client, "tiny")
    assert (await ask(client, "poet"))[0] == 404
    poet = {"name": "poet", "uri": "hf://org/model", "endpoint": hub.endpoint}
    await want(client, poet)
    await until(client, lambda status: is_loaded(status) and status["adapters"][0]["loaded"] == replicas)
    async with asyncio.timeout(SECONDS):
        while (await ask(client, "poet"))[0] != 200:  # noqa: ASYNC110 - the router looks every so often
            await asyncio.sleep(0.2)
    assert (await ask(client, "poet"))[1] != base
    assert await engines(client) == pods
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
    assert await engines(client) == pods
