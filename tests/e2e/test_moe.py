"""Data ranks of a mixture of experts with real vLLM: in one pod, over two pods of Ray, and what each of them answers.

On CPU the experts are sliced over the data ranks. Whole experts on each rank (expert parallel) crash vLLM's kernels
there, so the planner refuses them; tests/unit covers what GPUs are told.
"""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
import yaml
from running import RunningBox, chat_with, only_all, start_box, stop_box, wait_ready
from tiny_moe import tiny_moe

from manta_operator.api import names
from manta_operator.cli.watch import take
from manta_operator.controller.client import KubeClient, connect

pytestmark = only_all
QUESTION = {"prompt": "What is a manta ray?", "max_tokens": 16, "temperature": 0}


def manifest(name: str, data: int = 1, per_pod: int = 1) -> dict[str, Any]:
    """One replica of the tiny mixture of experts with `data` data ranks."""
    return {
        "apiVersion": names.API_VERSION,
        "kind": names.KIND,
        "metadata": {"name": name},
        "spec": {
            "model": {"uri": "file:///var/lib/manta/models/tiny-moe"},
            "accelerator": {"type": "cpu", "perPod": per_pod},
            "parallelism": {"data": data, "tensor": 1},
            "router": {"replicas": 1},
            "engine": {
                "dtype": "bfloat16",
                "maxModelLen": 1024,
                "kvCacheMemory": "64Mi",
                "enforceEager": True,
                "resources": {"cpu": "250m", "memory": "2Gi"},
            },
        },
    }


@pytest.fixture(scope="module", params=["moe-pod", "moe-pods"])
def box(request, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RunningBox, str]]:
    """One replica in one piece beside one with two data ranks."""
    tiny_moe()
    folder = tmp_path_factory.mktemp(request.param)
    file = folder / "moe.yaml"
    whole = manifest("moe-whole")
    split = manifest(request.param, data=2, per_pod=2 if request.param == "moe-pod" else 1)
    file.write_text(yaml.safe_dump_all([whole, split]))
    running = start_box(folder / "box", str(file))
    yield running, request.param
    assert stop_box(running) == 0, running.words.read_text()


@pytest_asyncio.fixture
async def cluster(box, tmp_path) -> AsyncIterator[KubeClient]:
    """The box's API server."""
    async with connect(tmp_path, box[0].state.kubeconfig) as connected:
        yield connected


async def heads(cluster: KubeClient, name: str) -> list[str]:
    """Return the addresses of the heads of a deployment."""
    pods = (await take(cluster)).pods.values()
    return [
        pod.address for pod in pods if pod.deployment == name and pod.container == "engine" and pod.name[-2:] == "-0"
    ]


async def complete(session: aiohttp.ClientSession, address: str, name: str, data_rank: int | None = None) -> str:
    """Return what an engine answers, asked directly."""
    headers = {} if data_rank is None else {"X-data-parallel-rank": str(data_rank)}
    url = f"http://{address}:{names.ENGINE_PORT}/v1/completions"
    async with session.post(url, json=QUESTION | {"model": name}, headers=headers) as response:
        assert response.status == 200, await response.text()
        return str((await response.json())["choices"][0]["text"])


async def test_every_data_rank_answers_as_one_piece_does(box, cluster):
    running, name = box
    await wait_ready(running, cluster, "moe-whole", 1)
    await wait_ready(running, cluster, name, 1)
    [whole], [split] = await heads(cluster, "moe-whole"), await heads(cluster, name)
    async with aiohttp.ClientSession() as session:
        expected = await complete(session, whole, "moe-whole")
        assert len(expected) > 10
        assert [await complete(session, split, name, rank) for rank in range(2)] == [expected] * 2
        async with session.get(f"http://{split}:{names.ENGINE_PORT}/metrics") as response:
            metrics = await response.text()
    steps = [line for line in metrics.splitlines() if line.startswith("vllm:iteration_tokens_total_count{")]
    assert len(steps) == 2, "one engine for each data rank"
    assert all(float(line.rpartition(" ")[2]) > 0 for line in steps), (
        "a token of each was asked for before it was ready"
    )


async def test_the_router_serves_data_ranks_as_one_replica(box, cluster):
    running, name = box
    await wait_ready(running, cluster, name, 1)
    async with await chat_with(cluster, name) as chat:
        answers = [await chat.plain("What is a manta ray?", 8) for _ in range(4)]
    assert {answer.text for answer in answers} == {answers[0].text}


async def test_the_plan_counts_the_cache_of_every_data_rank(box, cluster):
    running, name = box
    await wait_ready(running, cluster, name, 1)
    pods = "1 pod, executor mp" if name == "moe-pod" else "2 pods, executor ray"
    body = await cluster.get(names.API_VERSION, names.KIND, "default", name)
    assert body["status"]["plan"] == f"data 2 x tensor 1 x pipeline 1 = 2 ranks in {pods}"
    [head] = await heads(cluster, name)
    url = f"http://{head}:{names.ENGINE_PORT}/metrics"
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        metrics = await response.text()
    infos = [line for line in metrics.splitlines() if line.startswith("vllm:cache_config_info{")]
    tokens = [int(line.partition('kv_cache_size_tokens="')[2].partition('"')[0]) for line in infos]
    assert len(tokens) == 2
    assert body["status"]["fit"]["predicted"]["kvCacheTokens"] == sum(tokens)
