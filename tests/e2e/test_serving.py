"""What the project is for, on real engines: served, sharded, balanced, drained, broken and mended."""

import asyncio

import aiohttp
import openai
import pytest
from running import chat_with, wait_ready

from demonstration.failure import Load, engine_of
from manta_operator.api import names
from manta_operator.cli.watch import take

QUESTION = "What is a manta ray?"


async def scale(client, name: str, replicas: int) -> None:
    """Set spec.replicas as a user does."""
    document = {
        "apiVersion": names.API_VERSION,
        "kind": names.KIND,
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"replicas": replicas},
    }
    live = await client.get(names.API_VERSION, names.KIND, "default", name)
    document["spec"] = live["spec"] | {"replicas": replicas}
    await client.apply(document, manager="manta-cli")


async def engine_pods(client, name: str) -> dict[str, str]:
    """Return the addresses of a deployment's ready engine pods."""
    pods = (await take(client)).pods.values()
    chosen = (pod for pod in pods if pod.deployment == name and pod.container == "engine" and pod.state == "Ready")
    return {pod.name: pod.address for pod in chosen}


async def test_plain_and_streamed_answers_agree_and_are_language(box, client):
    await wait_ready(box, client, "tiny", 2)
    async with await chat_with(client, "tiny") as tiny:
        plain, streamed = await tiny.plain(QUESTION), await tiny.streamed(QUESTION)
    assert "fish" in plain.text
    assert plain.tokens > 10
    assert streamed.tokens > 10
    assert streamed.first_token < streamed.seconds


async def test_both_replicas_serve(box, client):
    await wait_ready(box, client, "tiny", 2)
    async with await chat_with(client, "tiny") as tiny:
        answers = await asyncio.gather(*(tiny.streamed(f"Tell me a story, number {n}.") for n in range(8)))
    assert {answer.replica for answer in answers} == set(await engine_pods(client, "tiny"))


async def test_tensor_parallel_over_ray_gives_the_same_greedy_answer(box, client):
    await wait_ready(box, client, "tiny", 2)
    await wait_ready(box, client, "tiny-sharded", 1)
    assert len(await engine_pods(client, "tiny-sharded")) == 2, "one replica, two pods"
    async with await chat_with(client, "tiny") as tiny, await chat_with(client, "tiny-sharded") as sharded:
        whole, split = await tiny.plain(QUESTION), await sharded.plain(QUESTION)
    assert split.text == whole.text
    assert split.tokens == whole.tokens


async def test_the_plan_foretells_what_the_engine_finds(box, client):
    await wait_ready(box, client, "tiny-sharded", 1)
    body = await client.get(names.API_VERSION, names.KIND, "default", "tiny-sharded")
    heads = [name for name in await engine_pods(client, "tiny-sharded") if name.endswith("-0")]
    log = [line async for line in client.logs("default", heads[0], "engine", tail=5000, follow=False)]
    found = next(line for line in log if "KV cache size:" in line)
    tokens = int(found.partition("KV cache size:")[2].split("tokens")[0].strip().replace(",", ""))
    assert body["status"]["fit"]["predicted"]["kvCacheTokens"] == tokens


@pytest.mark.parametrize("path", ["/invocations", "/metrics", "/tokenize", "/v1/load_lora_adapter"])
async def test_the_engines_own_endpoints_are_not_exposed(box, client, path):
    await wait_ready(box, client, "tiny", 2)
    async with await chat_with(client, "tiny") as tiny:
        base = tiny.base_url.removesuffix("/v1/")
    async with aiohttp.ClientSession() as session, session.post(f"{base}{path}", json={}) as response:
        assert response.status == 404
        assert (await response.json())["error"]["code"] == "not_found"


async def test_an_unknown_model_is_refused_by_name(box, client):
    await wait_ready(box, client, "tiny", 2)
    async with await chat_with(client, "tiny") as tiny, tiny.with_model("gpt-17") as stranger:
        with pytest.raises(openai.NotFoundError, match="gpt-17"):
            await stranger.plain(QUESTION)


async def test_a_scale_down_under_load_loses_no_request(box, client):
    await wait_ready(box, client, "tiny", 2)
    async with await chat_with(client, "tiny") as tiny:
        load = Load(tiny)
        load.start()
        await _until(lambda: len(load.outcome.answered) == 2, "both replicas have served")
        await scale(client, "tiny", 1)
        await wait_ready(box, client, "tiny", 1)
        left = await _until_gone(client, "tiny", 1)
        before = sum(load.outcome.answered.values())
        await _until(lambda: sum(load.outcome.answered.values()) > before + 10, "the one that is left serves")
        outcome = await load.stop()
    assert left, "the second replica drained but never left"
    assert not outcome.failed
    assert len(outcome.answered) == 2, "both replicas had served"
    assert sum(outcome.answered.values()) > 10
    await scale(client, "tiny", 2)
    await wait_ready(box, client, "tiny", 2)


async def _until(holds, what: str) -> None:
    """Wait for what the load, which has no events, has come to."""
    for _ in range(1200):
        if holds():
            return
        await asyncio.sleep(0.1)
    pytest.fail(f"not after two minutes: {what}")


async def _until_gone(client, name: str, left: int) -> bool:
    for _ in range(240):
        pods = [
            pod for pod in (await take(client)).pods.values() if pod.deployment == name and pod.container == "engine"
        ]
        if len(pods) == left:
            return True
        await asyncio.sleep(0.5)
    return False


async def _restarts(client, pod: str) -> int:
    """How often a pod's engine was restarted, when that is told."""
    for _ in range(240):
        if restarts := (await take(client)).pods[pod].restarts:
            return restarts
        await asyncio.sleep(0.5)
    return 0


async def test_a_killed_engine_comes_back_while_the_other_serves(box, client):
    await wait_ready(box, client, "tiny", 2)
    (victim, address), *_ = sorted((await engine_pods(client, "tiny")).items())
    async with await chat_with(client, "tiny") as tiny:
        load = Load(tiny)
        load.start()
        await _until(lambda: load.outcome.answered[victim], "the one that is to die serves")
        engine_of(address).kill()
        assert await _restarts(client, victim) == 1
        await wait_ready(box, client, "tiny", 2)
        outcome = await load.stop()
    assert (await take(client)).pods[victim].restarts == 1
    assert sum(count for replica, count in outcome.answered.items() if replica != victim) > 10
    assert sum(outcome.failed.values()) <= 8, "only what was in flight or sent before the router noticed"
