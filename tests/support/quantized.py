"""Serving the checkpoints of tools/checkpoints.py on a box, and measuring what quantization did to the answers."""

import asyncio
import json
import math
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from running import MODELS, READY_SECONDS, ROOT, RunningBox, chat_with, wait_ready

import checkpoints
from compression.methods import by_name
from compression.texts import measured_by
from manta_operator.api import names
from manta_operator.cli.story import DeploymentView
from manta_operator.cli.watch import take
from manta_operator.controller.client import KubeClient
from tinylm.corpus import read_corpus

TEXT = measured_by(read_corpus(ROOT / "tools/tinylm/corpus.txt"))
RESULTS = ROOT / "build/bench/quantization.json"
GONE_SECONDS = 180
WITHOUT_AVX512 = ({"name": "PYTHONPATH", "value": str(Path(__file__).parent / "without_avx512")},)
"""spec.engine.env of an engine that is to take this CPU for an older one."""


def has_avx512() -> bool:
    """Whether this CPU has the instructions that vLLM's kernels for 4-bit weights need."""
    return "avx512f" in Path("/proc/cpuinfo").read_text().split()


def checkpoint(method: str) -> Path:
    """The folder of a checkpoint; skips the test where it was not made."""
    folder = checkpoints.folder_of(MODELS / "tiny", by_name(method))
    try:
        key = checkpoints.fingerprint(MODELS / "tiny", checkpoints.release_of(checkpoints.ENVIRONMENT))
    except checkpoints.NotMade as error:
        pytest.skip(str(error))
    if not checkpoints.is_fresh(folder, key):
        pytest.skip(f"{folder.name} is not there, or stale: `make checkpoints ALL=1` makes it")
    return folder


def body(name: str, folder: str, **engine: Any) -> dict[str, Any]:
    """An LLMDeployment of one replica; keywords are fields of spec.engine."""
    settings = {
        "dtype": "bfloat16",
        "maxModelLen": 1024,
        "kvCacheMemory": "64Mi",
        "enforceEager": True,
        "resources": {"cpu": "100m", "memory": "1Gi"},
    }
    return {
        "apiVersion": names.API_VERSION,
        "kind": names.KIND,
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "model": {"uri": f"file:///var/lib/manta/models/{folder}"},
            "accelerator": {"type": "cpu"},
            "router": {"replicas": 1},
            "engine": settings | engine,
        },
    }


async def serve(box: RunningBox, client: KubeClient, deployment: dict[str, Any]) -> float:
    """Apply it and wait until it is Ready; returns the seconds that took."""
    started = time.monotonic()
    await client.apply(deployment, manager="manta-cli")
    await wait_ready(box, client, deployment["metadata"]["name"], 1)
    return time.monotonic() - started


async def until(client: KubeClient, name: str, holds: Callable[[DeploymentView], bool]) -> DeploymentView:
    """Wait until what a deployment says of itself is so."""
    deadline = time.monotonic() + READY_SECONDS
    view = None
    while time.monotonic() < deadline:
        view = (await take(client)).deployments.get(name)
        if view and holds(view):
            return view
        await asyncio.sleep(0.5)
    pytest.fail(f"{name} never came to that: {view}")


async def remove(client: KubeClient, name: str) -> None:
    """Delete it and wait until its pods are gone, so that the next has the machine."""
    live = await client.get(names.API_VERSION, names.KIND, "default", name)
    if live is None:
        return
    await client.delete(names.API_VERSION, names.KIND, "default", name, live["metadata"]["uid"])
    deadline = time.monotonic() + GONE_SECONDS
    while any(pod.deployment == name for pod in (await take(client)).pods.values()):
        assert time.monotonic() < deadline, f"pods of {name} do not go"
        await asyncio.sleep(0.5)


async def logprobs(client: KubeClient, name: str) -> list[float]:
    """log p of every token of TEXT after the first, in nats, asked through the router."""
    async with await chat_with(client, name) as chat:
        url = f"{chat.base_url}completions"
    asked = {"model": name, "prompt": TEXT, "max_tokens": 1, "prompt_logprobs": 0, "temperature": 0}
    timeout = aiohttp.ClientTimeout(total=READY_SECONDS)
    async with aiohttp.ClientSession(timeout=timeout) as session, session.post(url, json=asked) as response:
        answer = await response.json()
        assert response.status == 200, answer
    tokens = [next(iter(each.values()))["logprob"] for each in answer["choices"][0]["prompt_logprobs"] if each]
    assert len(tokens) > 400
    return tokens


@dataclass(frozen=True)
class Quality:
    """A deployment beside the bf16 model: perplexities, and how far log p of a token moved on average, in nats.

    The drift sees what the ups and downs of a perplexity cancel out: a model with half of its weights removed has the
    same perplexity here, and forty times the drift of one that is rounded to 8 bits.
    """

    perplexity: float
    of_bf16: float
    drift: float


async def quality(client: KubeClient, name: str) -> Quality:
    """Measure a deployment against `tiny`."""
    reference, found = await logprobs(client, "tiny"), await logprobs(client, name)
    moved = [abs(one - other) for one, other in zip(found, reference, strict=True)]
    perplexities = (math.exp(-sum(each) / len(each)) for each in (found, reference))
    return Quality(*perplexities, sum(moved) / len(moved))


async def facts(client: KubeClient, name: str) -> dict[str, Any]:
    """What the engine of a deployment says of itself, GET /facts."""
    pods = (await take(client)).pods.values()
    address = next(pod.address for pod in pods if pod.deployment == name and pod.container == "engine")
    url = f"http://{address}:{names.CONTROL_PORT}/facts"
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        told: dict[str, Any] = await response.json()
    return told


def status_text(box: RunningBox, name: str) -> str:
    """What `manta status NAME` prints."""
    command = [sys.executable, "-m", "manta_operator.cli", "status", name, "--kubeconfig", str(box.state.kubeconfig)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def remember(name: str, **measured: Any) -> None:
    """Add a row to build/bench/quantization.json, which docs/quantization.md shows."""
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    rows = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}
    RESULTS.write_text(json.dumps(rows | {name: measured}, indent=2) + "\n")
