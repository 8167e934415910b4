"""The simulator over HTTP: a process as the launcher starts it, asked as clients ask, ended as the kubelet ends it."""

import asyncio
import json
import signal
import sys
import time

import aiohttp
import pytest

from manta_runtime.engine.drain import count_in_flight
from manta_runtime.engine.progress import read_marks
from manta_runtime.engine.ray_node import free_port
from manta_runtime.simulator.answers import answer
from manta_runtime.simulator.protocol import render_chat

HOST = "127.0.0.1"
MESSAGES = [{"role": "user", "content": "What is a manta ray?"}]


class Simulator:
    """A running simulator."""

    def __init__(self, process, url, session):
        self.process, self.url, self.session = process, url, session

    async def get(self, path):
        async with self.session.get(self.url + path) as response:
            return response.status, await response.text()

    async def post(self, path, body):
        async with self.session.post(self.url + path, json={"model": "tiny"} | body) as response:
            return response.status, await response.json()

    async def stream(self, body, path="/v1/chat/completions"):
        """Yield the events of a stream, as they come."""
        async with self.session.post(self.url + path, json={"model": "tiny", "stream": True} | body) as response:
            assert response.status == 200, await response.text()
            async for line in response.content:
                if line.startswith(b"data: {"):
                    yield json.loads(line[6:])
                elif line.strip():
                    yield line.strip().decode()


@pytest.fixture
async def start():
    """Return a function that starts a simulator with more flags and waits until it serves."""
    processes = []
    async with aiohttp.ClientSession() as session:

        async def launch(*flags):
            port = free_port(HOST)
            command = [sys.executable, "-m", "manta_runtime.main", "simulate", f"--host={HOST}", f"--port={port}"]
            command += ["--model=/m", "--served-model-name", "tiny", "alias", "--max-model-len=1024", *flags]
            process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.DEVNULL)
            processes.append(process)
            found = Simulator(process, f"http://{HOST}:{port}", session)
            async with asyncio.timeout(20):
                while True:
                    try:
                        assert (await found.get("/health"))[0] == 200
                    except aiohttp.ClientError:
                        await asyncio.sleep(0.02)
                    else:
                        return found

        yield launch
        for process in processes:
            if process.returncode is None:
                process.kill()
            await process.wait()


async def anext_for_ever(stream):
    """Read a stream and forget what it says."""
    async for _ in stream:
        pass


async def test_whole_answers_tell_their_tokens_in_headers_too(start):
    simulator = await start()
    body = {"model": "tiny", "messages": MESSAGES, "max_tokens": 12}
    async with simulator.session.post(simulator.url + "/v1/chat/completions", json=body) as response:
        usage = (await response.json())["usage"]
    told = {name: value for name, value in response.headers.items() if name.lower().startswith("x-manta-")}
    prompt, completion = str(usage["prompt_tokens"]), str(usage["completion_tokens"])
    names = ("x-manta-prompt-tokens", "x-manta-completion-tokens", "x-manta-cached-tokens")
    assert told == dict(zip(names, (prompt, completion, "0"), strict=True))


async def test_whole_and_streamed_answers_are_the_same_and_the_right_one(start):
    simulator = await start("--simulate-speed=50")
    body = {"messages": MESSAGES, "max_tokens": 12}
    right = answer(render_chat(MESSAGES), max_tokens=12, natural=128)
    status, whole = await simulator.post("/v1/chat/completions", body)
    events = [event async for event in simulator.stream(body | {"stream_options": {"include_usage": True}})]
    *chunks, usage, done = events
    assert status == 200
    assert whole["choices"][0]["message"]["content"] == right.text
    assert "".join(chunk["choices"][0]["delta"]["content"] for chunk in chunks) == right.text
    assert whole["choices"][0]["finish_reason"] == chunks[-1]["choices"][0]["finish_reason"] == "length"
    assert whole["usage"]["completion_tokens"] == usage["usage"]["completion_tokens"] == 12
    assert done == "data: [DONE]"
    _, completion = await simulator.post("/v1/completions", {"prompt": ["a", "b"], "max_tokens": 3, "n": 2})
    assert len(completion["choices"]) == 4
    assert completion["usage"]["completion_tokens"] == 12
    events = [event async for event in simulator.stream({"prompt": ["a", "b"], "max_tokens": 3}, "/v1/completions")]
    texts = ["", ""]
    for event in events[:-1]:
        texts[event["choices"][0]["index"]] += event["choices"][0]["text"]
    assert texts == [answer(prompt, max_tokens=3, natural=128).text for prompt in "ab"]


async def test_tokens_are_asked_for_with_a_text_or_messages(start):
    simulator = await start()
    wrong = {"/tokenize": [{"messages": 5}, {"prompt": 5}, {}], "/detokenize": [{"tokens": 5}, {"tokens": ["x"]}, {}]}
    for path, body in [(path, body) for path, bodies in wrong.items() for body in bodies]:
        status, answered = await simulator.post(path, body)
        assert (status, answered["error"]["type"]) == (400, "Bad Request")
    status, answered = await simulator.post("/tokenize", {"prompt": "hello"})
    assert (status, answered["count"]) == (200, 2)


async def test_the_launcher_reads_its_metrics_and_requests_abort_when_their_clients_leave(start):
    simulator = await start()
    stream = simulator.stream({"messages": MESSAGES, "max_tokens": 900, "ignore_eos": True})
    await anext(stream)
    _, metrics = await simulator.get("/metrics")
    assert count_in_flight(metrics) == 1
    assert len(read_marks(metrics)["0"]) == 4
    assert json.loads((await simulator.get("/load"))[1]) == {"server_load": 1}
    await stream.aclose()
    async with asyncio.timeout(5):
        while count_in_flight((await simulator.get("/metrics"))[1]):  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.02)
    assert 'finished_reason="abort",model_name="tiny"} 1.0' in (await simulator.get("/metrics"))[1]


async def test_with_a_timeout_it_finishes_what_runs_and_refuses_what_comes(start, tmp_path):
    simulator = await start("--shutdown-timeout=20", f"--simulate-journal={tmp_path / 'journal'}")
    stream = simulator.stream({"messages": MESSAGES, "max_tokens": 120, "ignore_eos": True, "user": "first"})
    await anext(stream)
    simulator.process.send_signal(signal.SIGTERM)
    await asyncio.sleep(0.1)
    assert (await simulator.get("/health"))[0] == 200
    status, refused = await simulator.post("/v1/chat/completions", {"messages": MESSAGES, "user": "second"})
    assert (status, refused["error"]["type"]) == (500, "InternalServerError")
    events = [event async for event in stream]
    assert events[-1] == "data: [DONE]"
    async with asyncio.timeout(5):
        assert await simulator.process.wait() == 0
    assert (tmp_path / "journal").read_text() == "first\n", "what was refused was not begun"


async def test_without_a_timeout_it_leaves_streams_in_silence(start):
    simulator = await start()
    stream = simulator.stream({"messages": MESSAGES, "max_tokens": 900, "ignore_eos": True})
    await anext(stream)
    simulator.process.send_signal(signal.SIGTERM)
    rest = asyncio.create_task(anext_for_ever(stream))
    done, _ = await asyncio.wait([rest], timeout=1)
    assert not done, "neither an end nor an error"
    rest.cancel()
    await asyncio.gather(rest, return_exceptions=True)
    assert simulator.process.returncode is None, "vLLM's server stays as long as its clients do"
    await stream.aclose()
    async with asyncio.timeout(5):
        assert await simulator.process.wait() == 0


async def test_a_full_engine_makes_requests_wait_and_says_so(start):
    simulator = await start("--max-num-seqs=1", "--simulate-startup-seconds=0.3")
    body = {"messages": MESSAGES, "max_tokens": 20}
    began = time.monotonic()
    asked = [asyncio.create_task(simulator.post("/v1/chat/completions", body)) for _ in range(3)]
    await asyncio.sleep(0.05)
    metrics = (await simulator.get("/metrics"))[1]
    assert 'vllm:num_requests_running{engine="0",model_name="tiny"} 1.0' in metrics
    assert 'vllm:num_requests_waiting{engine="0",model_name="tiny"} 2.0' in metrics
    await asyncio.gather(*asked)
    assert time.monotonic() - began > 3 * 20 * 0.0045
