"""Two pipeline stages in two pods with real vLLM and Ray: the same greedy answers as in one piece."""

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio
from running import ROOT, RunningBox, chat_with, only_all, start_box, stop_box, wait_ready

from manta_operator.api import names
from manta_operator.cli.watch import take
from manta_operator.controller.client import KubeClient, connect

pytestmark = only_all
QUESTIONS = ("What is a manta ray?", "What does a load balancer do?", "Who are you?")


@pytest.fixture(scope="module")
def staged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningBox]:
    """The example of a pipeline, and one replica of the same model in one piece."""
    folder = tmp_path_factory.mktemp("pipeline")
    whole = folder / "whole.yaml"
    whole.write_text((ROOT / "examples" / "tiny.yaml").read_text().replace("replicas: 2 ", "replicas: 1 "))
    running = start_box(folder / "box", "tiny-pipeline.yaml", str(whole))
    yield running
    assert stop_box(running) == 0, running.words.read_text()


@pytest_asyncio.fixture
async def cluster(staged: RunningBox, tmp_path) -> AsyncIterator[KubeClient]:
    """The box's API server."""
    async with connect(tmp_path, staged.state.kubeconfig) as connected:
        yield connected


async def test_two_stages_give_the_same_greedy_answers(staged, cluster):
    await wait_ready(staged, cluster, "tiny", 1)
    await wait_ready(staged, cluster, "tiny-pipeline", 1)
    pods = [pod for pod in (await take(cluster)).pods.values() if pod.deployment == "tiny-pipeline"]
    assert len([pod for pod in pods if pod.container == "engine"]) == 2, "one replica, two pods"
    async with await chat_with(cluster, "tiny") as tiny, await chat_with(cluster, "tiny-pipeline") as pipeline:
        for question in QUESTIONS:
            whole, split = await tiny.plain(question), await pipeline.plain(question)
            assert split.text == whole.text
            assert split.tokens == whole.tokens


async def test_the_plan_foretells_what_the_stages_find(staged, cluster):
    await wait_ready(staged, cluster, "tiny-pipeline", 1)
    body = await cluster.get(names.API_VERSION, names.KIND, "default", "tiny-pipeline")
    assert body["status"]["plan"] == "tensor 1 x pipeline 2 = 2 ranks in 2 pods, executor ray"
    heads = [pod.name for pod in (await take(cluster)).pods.values() if pod.name.startswith("tiny-pipeline")]
    head = next(name for name in heads if name.endswith("-0") and "router" not in name)
    log = [line async for line in cluster.logs("default", head, "engine", tail=5000, follow=False)]
    found = next(line for line in log if "KV cache size:" in line)
    tokens = int(found.partition("KV cache size:")[2].split("tokens")[0].strip().replace(",", ""))
    assert body["status"]["fit"]["predicted"]["kvCacheTokens"] == tokens
