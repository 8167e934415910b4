"""Typed fields of spec.engine with real vLLM: what they become, what the engine does, and what it then says."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import openai
import pytest
import pytest_asyncio
import yaml
from quantized import body, facts, remove, serve, status_text, until
from running import READY_SECONDS, RunningBox, chat_with, only_all, start_box, stop_box, wait_ready

from manta_operator.api import names
from manta_operator.cli.watch import take
from manta_operator.controller.client import KubeClient, connect

LENGTH = 4096
"""Twice what the tiny model was trained for."""
FIELDS = {
    "maxModelLen": LENGTH,
    "ropeScaling": {"type": "yarn", "factor": 2},
    "speculative": {"method": "ngram", "tokens": 3, "promptLookupMax": 4, "promptLookupMin": 2},
    "toolCallParser": "hermes",
    "structuredOutputs": {"backend": "xgrammar", "disableAnyWhitespace": True},
    "maxNumBatchedTokens": 512,
    "chunkedPrefill": True,
    "attentionBackend": "CPU_ATTN",
}
SCHEMA = {
    "type": "object",
    "properties": {"fish": {"type": "boolean"}},
    "required": ["fish"],
    "additionalProperties": False,
}
TOOL = {"type": "function", "function": {"name": "look_up", "parameters": SCHEMA}}
QUESTION = "What is a manta ray?"


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningBox]:
    """A box of its own, with one engine that has all of them."""
    folder = tmp_path_factory.mktemp("fields")
    file = folder / "fields.yaml"
    file.write_text(yaml.safe_dump(body("fields", "tiny", **FIELDS)))
    running = start_box(folder / "box", str(file))
    yield running
    assert stop_box(running) == 0, running.words.read_text()


@pytest_asyncio.fixture
async def client(box: RunningBox, tmp_path: Path) -> AsyncIterator[KubeClient]:
    """The box's API server."""
    async with connect(tmp_path, box.state.kubeconfig) as connected:
        yield connected


async def ask(client: KubeClient, name: str, **more: object) -> openai.types.chat.ChatCompletionMessage:
    """Return the message of one answer, asked through the router."""
    async with await chat_with(client, name) as chat:
        base = chat.base_url
    asked = {"model": name, "messages": [{"role": "user", "content": QUESTION}], "max_completion_tokens": 48}
    async with openai.AsyncOpenAI(base_url=base, api_key="none", max_retries=0, timeout=120) as api:
        answer = await api.chat.completions.create(**asked | {"temperature": 0} | more)
    return answer.choices[0].message


async def live(client: KubeClient, name: str) -> dict:
    """The status as it stands."""
    found = await client.get(names.API_VERSION, names.KIND, "default", name)
    assert found is not None
    return found["status"]


def condition(status: dict, kind: str) -> dict:
    """One condition of a status."""
    return next(each for each in status["conditions"] if each["type"] == kind)


async def spoken(client: KubeClient, name: str) -> dict:
    """Wait until the engine has said what it chose, and return the status: it is asked once it is ready."""
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        if "engine" in (found := await live(client, name)):
            return found
        await asyncio.sleep(0.5)
    pytest.fail(f"{name} never said what it chose: {await live(client, name)}")


async def test_the_engine_takes_the_fields_and_says_so(box, client):
    await wait_ready(box, client, "fields", 1)
    status, told = await spoken(client, "fields"), await facts(client, "fields")
    assert (told["speculative"], told["speculativeTokens"]) == ("ngram", 3)
    # vLLM's CPU platform does not say that it takes CPU_ATTN, only what it refuses.
    assert (told["attentionBackend"], told["attentionBackendRefused"]) == (None, None)
    assert (told["maxModelLen"], told["quantization"]) == (LENGTH, "none")
    assert status["engine"] == {
        "version": told["version"],
        "quantization": "none",
        "kvCacheDtype": told["kvCacheDtype"],
        "kvCacheTokens": told["kvCacheTokens"],
        "maxModelLen": LENGTH,
        "maxConcurrency": told["maxConcurrency"],
        "speculative": "ngram",
        "speculativeTokens": 3,
        "replicas": 1,
    }
    assert condition(status, "EngineAsPlanned")["status"] == "True"
    predicted, actual = status["fit"]["predicted"], status["fit"]["actual"]
    assert actual["kvCacheTokens"] == told["kvCacheTokens"] == predicted["kvCacheTokens"]
    assert actual["kvCachePerRank"] == round(told["kvCacheGiB"] * 2**30)
    assert abs(actual["kvCachePerRank"] - predicted["kvCachePerRank"]) <= 0.005 * 2**30, "told in hundredths of a GiB"
    assert f"vLLM {told['version']}, quantization none, KV cache of" in " ".join(status_text(box, "fields").split())


async def test_answers_are_parsed_and_held_to_a_schema(box, client):
    await wait_ready(box, client, "fields", 1)
    assert (await ask(client, "fields")).content
    held = await ask(
        client,
        "fields",
        response_format={"type": "json_schema", "json_schema": {"name": "fish", "schema": SCHEMA}},
    )
    assert isinstance(json.loads(held.content or "")["fish"], bool)
    assert " " not in (held.content or ""), "disableAnyWhitespace"
    # Without toolCallParser vLLM refuses `auto`; the tiny model calls nothing by itself.
    assert not (await ask(client, "fields", tools=[TOOL], tool_choice="auto")).tool_calls


async def test_a_prompt_longer_than_the_model_was_trained_for_is_answered(box, client):
    await wait_ready(box, client, "fields", 1)
    async with await chat_with(client, "fields") as chat:
        base = chat.base_url
    words = "a manta ray is a fish " * 500
    async with openai.AsyncOpenAI(base_url=base, api_key="none", max_retries=0, timeout=300) as api:
        answer = await api.completions.create(model="fields", prompt=words, max_tokens=8, temperature=0)
    assert answer.usage is not None
    assert 2048 < answer.usage.prompt_tokens < LENGTH
    assert answer.choices[0].text


@only_all
async def test_a_draft_model_guesses_and_the_answer_stays_the_same(box, client):
    drafts = {"method": "draft_model", "tokens": 3, "model": {"uri": "file:///var/lib/manta/models/tiny"}}
    try:
        await serve(box, client, body("plain", "tiny"))
        await serve(box, client, body("drafts", "tiny", speculative=drafts))
        told, status = await facts(client, "drafts"), await spoken(client, "drafts")
        answers = [(await ask(client, name)).content for name in ("plain", "drafts")]
        counted = await metrics(client, "drafts")
    finally:
        await remove(client, "drafts")
        await remove(client, "plain")
    assert (told["speculative"], told["speculativeTokens"]) == ("draft_model", 3)
    assert condition(status, "EngineAsPlanned")["status"] == "True"
    assert answers[0] == answers[1]
    accepted, drafted = (counted[f"vllm:spec_decode_num_{word}_tokens_total"] for word in ("accepted", "draft"))
    assert 0 < accepted <= drafted, "the draft is the model itself: its guesses are good"


async def metrics(client: KubeClient, name: str) -> dict[str, float]:
    """The engine's own metrics of guesses, without labels."""
    pods = (await take(client)).pods.values()
    address = next(pod.address for pod in pods if pod.deployment == name and pod.container == "engine")
    url = f"http://{address}:{names.ENGINE_PORT}/metrics"
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        lines = [line for line in (await response.text()).splitlines() if line.startswith("vllm:spec_decode")]
    return {line.partition("{")[0]: float(line.rpartition(" ")[2]) for line in lines}


@only_all
async def test_what_the_model_was_not_made_for_deploys_nothing(box, client):
    try:
        await client.apply(body("long", "tiny", maxModelLen=LENGTH), manager="manta-cli")
        view = await until(client, "long", lambda view: view.reason == "InvalidSpec")
        pods = [pod for pod in (await take(client)).pods.values() if pod.deployment == "long"]
    finally:
        await remove(client, "long")
    assert "spec.engine.ropeScaling" in view.message
    assert not pods
