"""The engine simulator answers as the real engine does: statuses, the form of every body, names of metrics."""

import asyncio
import json
import re
import sys

import aiohttp
import pytest
from running import wait_ready

from manta_operator.cli.watch import take
from manta_runtime.engine.ray_node import free_port

CHAT = {
    "messages": [{"role": "user", "content": "What is a manta ray?"}],
    "max_tokens": 24,
    "temperature": 0,
    "ignore_eos": True,
}
TEXT = {"prompt": "Hello", "max_tokens": 24, "temperature": 0, "ignore_eos": True}
RESPONSE = {"input": "What is a manta ray?", "max_output_tokens": 24, "temperature": 0}
MESSAGE = {"messages": CHAT["messages"], "max_tokens": 24, "temperature": 0}
STREAM = {"stream": True, "stream_options": {"include_usage": True}}
CASES = {
    "health": ("/health", None),
    "ping": ("/ping", None),
    "version": ("/version", None),
    "load": ("/load", None),
    "models": ("/v1/models", None),
    "nothing there": ("/nothing", None),
    "wrong method": ("/v1/completions", None),
    "chat": ("/v1/chat/completions", CHAT),
    "two choices": ("/v1/chat/completions", CHAT | {"n": 2, "temperature": 1}),
    "two choices of one": ("/v1/chat/completions", CHAT | {"n": 2}),
    "streamed chat": ("/v1/chat/completions", CHAT | STREAM),
    "streamed chat without usage": ("/v1/chat/completions", CHAT | {"stream": True}),
    "completion": ("/v1/completions", TEXT),
    "streamed completion": ("/v1/completions", TEXT | STREAM),
    "response": ("/v1/responses", RESPONSE),
    "response that ends": ("/v1/responses", {"input": "What is a manta ray?", "temperature": 0, "instructions": "Hi"}),
    "streamed response": ("/v1/responses", RESPONSE | {"stream": True}),
    "message": ("/v1/messages", MESSAGE),
    "streamed message": ("/v1/messages", MESSAGE | {"stream": True}),
    "no input": ("/v1/responses", {}),
    "message without a limit": ("/v1/messages", {"messages": CHAT["messages"]}),
    "message to another model": ("/v1/messages", MESSAGE | {"model": "other"}),
    "message too hot": ("/v1/messages", MESSAGE | {"temperature": 9}),
    "embeddings": ("/v1/embeddings", {"input": "a"}),
    "tokenize": ("/tokenize", {"prompt": "Hello"}),
    "another model": ("/v1/chat/completions", CHAT | {"model": "other"}),
    "no messages": ("/v1/chat/completions", {}),
    "no prompt": ("/v1/completions", {}),
    "no tokens": ("/v1/completions", TEXT | {"max_tokens": 0}),
    "too many tokens": ("/v1/completions", TEXT | {"max_tokens": 5000}),
    "too long a prompt": ("/v1/completions", TEXT | {"prompt": "a " * 5000}),
}


def form(value):
    """Keys and types, without values; texts of errors are kept, for programs read them too."""
    if isinstance(value, dict):
        error = {"message!": value["message"]} if "code" in value and "message" in value else {}
        return {key: form(each) for key, each in sorted(value.items())} | error
    if isinstance(value, list):
        return sorted({json.dumps(form(each)) for each in value})
    return "number" if isinstance(value, int | float) and not isinstance(value, bool) else type(value).__name__


async def ask(session, url, case):
    path, body = CASES[case]
    method = "GET" if body is None else "POST"
    async with session.request(method, url + path, json=None if body is None else {"model": "tiny"} | body) as response:
        text = await response.text()
    kind = response.headers.get("Content-Type", "") if text else ""
    if kind.startswith("text/event-stream"):
        lines = text.splitlines()
        events = [line[6:] for line in lines if line.startswith("data: ")]
        names = list(dict.fromkeys(line for line in lines if line.startswith("event: ")))
        forms = sorted({event if event == "[DONE]" else json.dumps(form(json.loads(event))) for event in events})
        return response.status, kind, forms, names, events[-1] == "[DONE]"
    return response.status, kind, form(json.loads(text)) if text else None


async def metric_names(session, url):
    async with session.get(url + "/metrics") as response:
        found = re.findall(r"^(vllm:\w+)(?:{(.*)})?", await response.text(), re.MULTILINE)
    # What the cache is configured with is the engine's own business; the bounds of histograms are compared.
    return {name if "cache_config" in name else f"{name}{{{labels}}}" for name, labels in found}


@pytest.fixture
async def simulated():
    """Address of a simulator with the flags of examples/tiny.yaml and the operator."""
    port = free_port("127.0.0.1")
    command = [sys.executable, "-m", "manta_runtime.main", "simulate", "--host=127.0.0.1", f"--port={port}"]
    command += ["--model=/m", "--served-model-name", "tiny", "--max-model-len=1024", "--simulate-startup-seconds=0"]
    command += ["--enable-prompt-tokens-details"]
    process = await asyncio.create_subprocess_exec(*command)
    yield f"http://127.0.0.1:{port}"
    process.terminate()
    await process.wait()


async def test_the_simulator_cannot_be_told_from_the_engine(box, client, simulated):
    await wait_ready(box, client, "tiny", 2)
    pods = (await take(client)).pods.values()
    real = next(f"http://{pod.address}:8000" for pod in pods if (pod.deployment, pod.container) == ("tiny", "engine"))
    async with aiohttp.ClientSession() as session:
        async with asyncio.timeout(90):
            while True:
                try:
                    await ask(session, simulated, "health")
                    break
                except aiohttp.ClientConnectionError:
                    await asyncio.sleep(0.1)
        for case in CASES:
            assert await ask(session, simulated, case) == await ask(session, real, case), case
        assert await metric_names(session, simulated) == await metric_names(session, real)
