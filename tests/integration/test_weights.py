"""Weights from a hub and a bucket, on the box: fetched before the engine starts, told meanwhile, once for a claim."""

import asyncio
import contextlib
import time
from pathlib import Path

import psutil
import pytest
import yaml
from fetch_hub import FakeHub
from fetch_store import FakeStore
from fetching import model, needed
from running import chat_with, start_box, stop_box, wait_ready

from manta_operator.controller.client import connect

TOKEN = "hf_only-the-fetch-may-see-this"
KEY = "secret-key-of-the-bucket"
SIZE = 3_000_000


@pytest.fixture(scope="module")
def sources():
    """A gated model on a hub that holds half of it back, and one in a bucket."""
    with (
        FakeHub(model(SIZE), token=TOKEN) as hub,
        FakeStore({f"a/b/{name}": data for name, data in model().items()}) as s3,
    ):
        hub.faults.hold_at = SIZE
        yield hub, s3


@pytest.fixture(scope="module")
def box(sources, tmp_path_factory):
    hub, store = sources
    folder = tmp_path_factory.mktemp("box")
    gated = {"uri": "hf://org/model", "revision": "v1", "endpoint": hub.endpoint, "credentialsSecret": "hub"}
    bucket = {"uri": "s3://models/a/b", "endpoint": store.endpoint, "credentialsSecret": "bucket"}
    manifests = [manifest("gated", gated | {"cache": {"claim": "models"}}, 2), manifest("bucket", bucket, 1)]
    path = folder / "weights.yaml"
    path.write_text(yaml.safe_dump_all(manifests))
    running = start_box(folder / "box", str(path))
    yield running
    assert stop_box(running) == 0, running.words.read_text()


@pytest.fixture
async def client(box, tmp_path):
    async with connect(tmp_path, box.state.kubeconfig) as connected:
        yield connected


def manifest(name, weights, replicas):
    """A deployment of simulated engines."""
    engine = {
        "maxModelLen": 1024,
        "resources": {"cpu": "50m", "memory": "64Mi"},
        "env": [{"name": "MANTA_ENGINE", "value": "simulate"}, {"name": "NO_PROXY", "value": "*"}],
        "args": ["--simulate-startup-seconds=0"],
    }
    spec = {"model": weights, "accelerator": {"type": "cpu"}, "replicas": replicas, "engine": engine}
    metadata = {"name": name, "namespace": "default"}
    router = {"replicas": 1}
    return {
        "apiVersion": "manta.dev/v1alpha1",
        "kind": "LLMDeployment",
        "metadata": metadata,
        "spec": spec | {"router": router},
    }


async def made(client, kind, name, **body):
    assert await client.create(
        {"apiVersion": "v1", "kind": kind, "metadata": {"name": name, "namespace": "default"}, **body}
    )


async def said(client, name, reason, words):
    """Wait until ModelAvailable has a reason and some words; returns its message."""
    deadline = time.monotonic() + 60
    entry = {}
    while time.monotonic() < deadline:
        body = await client.get("manta.dev/v1alpha1", "LLMDeployment", "default", name)
        conditions = (body.get("status") or {}).get("conditions") or ()
        entry = next((each for each in conditions if each["type"] == "ModelAvailable"), {})
        if entry.get("reason") == reason and words in entry["message"]:
            return entry["message"]
        await asyncio.sleep(0.1)
    raise AssertionError(f"{name}: ModelAvailable is not {reason} with {words!r}: {entry}")


def engines(box, name):
    """The processes of the engines of a deployment: their arguments and environments."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            command, environ = process.cmdline(), process.environ()
            if (
                "simulate" in command
                and "shim.py" not in str(command)
                and str(box.state.kubeconfig.parent) in str(command)
            ):
                found.append((command, environ))
    return [(command, environ) for command, environ in found if name in command]


def served(command):
    """The name of the folder that an engine was told to load, and the names in it."""
    folder = Path(next(word for word in command if word.startswith("--model=")).removeprefix("--model="))
    return folder.name, {path.name for path in folder.iterdir()}


async def test_a_gated_model_is_fetched_once_for_a_claim(sources, box, client):
    hub, _ = sources
    await made(client, "PersistentVolumeClaim", "models", spec={"accessModes": ["ReadWriteMany"]})
    assert "check spec.model.uri, revision, credentialsSecret" in await said(
        client, "gated", "NotFetched", "Secret default/hub does not exist"
    )
    await made(client, "Secret", "hub", stringData={"HF_TOKEN": TOKEN})
    told = await said(client, "gated", "Fetching", "of 5.7 MiB")
    assert ", and 1 more" in told
    hub.faults.hold_at = None
    await wait_ready(box, client, "gated", 2)
    assert hub.sent == sum(map(len, needed(hub.files).values())), "one download for both pods"
    running = engines(box, "gated")
    assert len(running) == 2
    for command, environ in running:
        assert TOKEN not in str(environ)
        folder, files = served(command)
        assert folder.startswith("org-model-v1-")
        assert files == {".manta-model.json", *needed(hub.files)}
    async with await chat_with(client, "gated") as chat:
        assert (await chat.plain("What is a manta ray?")).text


async def test_a_bucket_is_fetched_with_the_keys_of_its_secret(sources, box, client):
    _, store = sources
    await made(client, "Secret", "bucket", stringData={"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": KEY})
    await wait_ready(box, client, "bucket", 1)
    ((command, environ),) = engines(box, "bucket")
    assert KEY not in str(environ)
    assert served(command)[1] == {".manta-model.json", *needed(model())}
    assert store.requests
