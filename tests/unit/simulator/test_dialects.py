"""The simulator's other APIs and flags: Responses, Messages, adapters, forced usage, cached tokens, a full queue."""

import asyncio
import base64
import json
import struct
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web

from manta_runtime.engine.ray_node import free_port
from manta_runtime.simulator.answers import answer, tokenize
from manta_runtime.simulator.engine import Engine
from manta_runtime.simulator.protocol import render_chat
from manta_runtime.simulator.server import Server
from manta_runtime.simulator.settings import SettingsError, parse

HOST = "127.0.0.1"
MESSAGES = [{"role": "user", "content": "What is a manta ray?"}]
FLAGS = ["--model=/m", "--served-model-name", "tiny", "--max-model-len=1024", "--simulate-speed=100"]
CHAT, TEXT = "/v1/chat/completions", "/v1/completions"


class Client:
    """Asks one simulator."""

    def __init__(self, url, session, engine):
        self.url, self.session, self.engine = url, session, engine

    async def post(self, path, **body):
        async with self.session.post(self.url + path, json={"model": "tiny"} | body) as response:
            return response.status, await response.json()

    async def events(self, path, **body):
        """(name, data) of each event."""
        async with self.session.post(self.url + path, json={"model": "tiny", "stream": True} | body) as response:
            assert response.status == 200, await response.text()
            blocks = (await response.text()).split("\n\n")
        assert blocks.pop() == ""
        lines = [dict(line.split(": ", 1) for line in block.split("\n")) for block in blocks]
        return [
            (line.get("event"), line["data"] if line["data"] == "[DONE]" else json.loads(line["data"]))
            for line in lines
        ]


def _read(data):
    return data if data == "[DONE]" else json.loads(data)


@asynccontextmanager
async def simulated(*flags):
    settings = parse([*flags, *FLAGS], {})  # of a flag given twice the first counts
    engine = Engine(settings)
    engine.start()
    runner = web.AppRunner(Server(settings, engine).application(), handler_cancellation=True, shutdown_timeout=0)
    await runner.setup()
    port = free_port(HOST)
    try:
        await web.TCPSite(runner, HOST, port).start()
        async with aiohttp.ClientSession() as session:
            yield Client(f"http://{HOST}:{port}", session, engine)
    finally:
        await runner.cleanup()
        engine.kill()


def right(messages=MESSAGES, tokens=12):
    return answer(render_chat(messages), max_tokens=tokens, natural=128).text


@pytest.mark.parametrize(
    ("body", "messages"),
    [
        ({"input": "Hi"}, [{"role": "user", "content": "Hi"}]),
        ({"input": MESSAGES}, MESSAGES),
        ({"input": MESSAGES, "instructions": "Brief."}, [{"role": "system", "content": "Brief."}, *MESSAGES]),
        (
            {"input": [{"role": "user", "content": [{"type": "input_text", "text": "Hi"}]}]},
            [{"role": "user", "content": "Hi"}],
        ),
    ],
)
async def test_responses(body, messages):
    asked = body | {"max_output_tokens": 12, "ignore_eos": True}
    async with simulated() as client:
        status, whole = await client.post("/v1/responses", **asked)
        events = await client.events("/v1/responses", **asked)
    assert (status, whole["status"], whole["incomplete_details"]) == (
        200,
        "incomplete",
        {"reason": "max_output_tokens"},
    )
    assert whole["output"][0]["content"][0]["text"] == right(messages)
    assert whole["usage"]["output_tokens"] == 12
    assert "".join(data["delta"] for name, data in events if name == "response.output_text.delta") == right(messages)
    assert [data["sequence_number"] for _, data in events] == list(range(len(events)))
    name, last = events[-1]
    assert (name, last["response"]["output"][0]["content"]) == ("response.completed", whole["output"][0]["content"])
    assert last["response"]["usage"] == whole["usage"] | {
        "input_tokens_details": last["response"]["usage"]["input_tokens_details"]
    }


async def test_a_response_that_ends_by_itself_is_complete():
    async with simulated("--simulate-answer-tokens=4") as client:
        _, whole = await client.post("/v1/responses", input="Hi")
    assert (whole["status"], whole["incomplete_details"]) == ("completed", None)


@pytest.mark.parametrize(
    ("stop", "reason", "word"), [(None, "max_tokens", None), ([right()[:6]], "stop_sequence", right()[:6])]
)
async def test_messages(stop, reason, word):
    asked = {"messages": MESSAGES, "max_tokens": 12, "ignore_eos": True} | ({"stop_sequences": stop} if stop else {})
    async with simulated("--enable-prompt-tokens-details") as client:
        status, whole = await client.post("/v1/messages", **asked)
        events = await client.events("/v1/messages", **asked)
    text = "" if stop else right()
    assert (status, whole["content"], whole["stop_reason"]) == (200, [{"type": "text", "text": text}], reason)
    assert whole.get("stop_sequence") == word
    assert "".join(data["delta"]["text"] for name, data in events if name == "content_block_delta") == text
    assert [name for name, _ in events][-2:] == ["message_delta", "message_stop"]
    assert events[-2][1]["delta"] == {"stop_reason": reason, "stop_sequence": word}


async def test_a_system_prompt_comes_before_the_messages():
    async with simulated() as client:
        _, whole = await client.post("/v1/messages", messages=MESSAGES, system="Brief.", max_tokens=12, ignore_eos=True)
    assert whole["content"][0]["text"] == right([{"role": "system", "content": "Brief."}, *MESSAGES])


@pytest.mark.parametrize(
    ("path", "body", "status", "error"),
    [
        ("/v1/responses", {}, 400, {"type": "Bad Request", "param": "body.input", "code": 400}),
        ("/v1/responses", {"input": 5}, 400, {"type": "Bad Request", "param": "body.input", "code": 400}),
        (
            "/v1/responses",
            {"input": "a", "max_output_tokens": 0},
            400,
            {"type": "BadRequestError", "param": "max_tokens"},
        ),
        ("/v1/responses", {"input": "a", "model": "x"}, 404, {"type": "NotFoundError", "param": "model", "code": 404}),
        ("/v1/messages", {"messages": MESSAGES}, 400, {"type": "Bad Request", "param": "body.max_tokens"}),
        ("/v1/messages", {"messages": MESSAGES, "max_tokens": 3, "model": "x"}, 404, {"type": "NotFoundError"}),
        ("/v1/messages", {"messages": MESSAGES, "max_tokens": 3, "temperature": 9}, 400, {"type": "BadRequestError"}),
    ],
)
async def test_each_api_refuses_in_its_own_form(path, body, status, error):
    async with simulated() as client:
        answered, refused = await client.post(path, **body)
    assert answered == status
    assert error.items() <= refused["error"].items()
    anthropic = path == "/v1/messages" and error["type"] != "Bad Request"
    assert (refused.get("type"), "param" in refused["error"]) == (("error", False) if anthropic else (None, True))


async def test_forced_usage_is_in_every_chunk_as_vllm_puts_it_there():
    async with simulated("--enable-force-include-usage") as client:
        for path, body in ((CHAT, {"messages": MESSAGES}), (TEXT, {"prompt": "Hi"})):
            events = [data for _, data in await client.events(path, max_tokens=3, ignore_eos=True, **body)]
            assert events.pop() == "[DONE]"
            assert [event["usage"]["completion_tokens"] for event in events][-2:] == [3, 3]
            assert [bool(event["choices"]) for event in events][-2:] == [True, False]


async def test_usage_tells_of_cached_tokens_only_where_the_flag_is():
    prompt = "a" * 4 * 40
    async with simulated("--enable-prompt-tokens-details") as client:
        first, second = [(await client.post(TEXT, prompt=prompt, max_tokens=2))[1]["usage"] for _ in range(2)]
        chat = (await client.post(CHAT, messages=[{"role": "user", "content": prompt}], max_tokens=2))[1]["usage"]
        *_, (_, last), _ = await client.events(
            TEXT, prompt=prompt, max_tokens=2, stream_options={"include_usage": True}
        )
        _, message = await client.post("/v1/messages", messages=[{"role": "user", "content": prompt}], max_tokens=2)
    assert len(tokenize(prompt)) == 40
    details = {"cached_tokens": 0, "created_cache_tokens": None, "multimodal_tokens": None}
    assert first["prompt_tokens_details"] == details
    assert second["prompt_tokens_details"] == details | {"cached_tokens": 32}
    assert last["usage"]["prompt_tokens_details"] == {"cached_tokens": 32}
    assert chat["prompt_tokens_details"]["created_cache_tokens"] == chat["prompt_tokens"] // 16 * 16
    used = message["usage"]
    assert used["cache_read_input_tokens"] == chat["prompt_tokens"] // 16 * 16
    assert used["input_tokens"] == chat["prompt_tokens"] - used["cache_read_input_tokens"]
    async with simulated() as client:
        _, whole = await client.post(TEXT, prompt=prompt, max_tokens=2)
    assert whole["usage"]["prompt_tokens_details"] is None


async def test_adapters_are_models_with_a_parent():
    spelled = ["--lora-modules", "fast=/a/fast", '{"name": "slow", "path": "/a/slow", "base_model_name": "tiny"}']
    async with simulated(*spelled) as client:
        async with client.session.get(client.url + "/v1/models") as response:
            cards = (await response.json())["data"]
        _, whole = await client.post(TEXT, model="slow", prompt="a", max_tokens=2)
        status, refused = await client.post(TEXT, model="other", prompt="a")
    assert [(card["id"], card["parent"], card["root"]) for card in cards] == [
        ("tiny", None, "/m"),
        ("fast", "tiny", "/a/fast"),
        ("slow", "tiny", "/a/slow"),
    ]
    assert whole["model"] == "slow"
    assert (status, refused["error"]["type"]) == (404, "NotFoundError")


@pytest.mark.parametrize("word", ["fast", "{", '{"name": "a"}', "{}"])
def test_adapters_without_a_name_or_a_path(word):
    with pytest.raises(SettingsError, match="--lora-modules"):
        parse([*FLAGS, "--lora-modules", word], {})


async def test_a_full_queue_refuses_and_counts_it():
    async with simulated("--max-num-queued-reqs=2", "--max-num-seqs=1", "--simulate-speed=1") as client:
        running = [asyncio.create_task(client.post(TEXT, prompt="a", max_tokens=60, ignore_eos=True)) for _ in range(2)]
        async with asyncio.timeout(5):
            while client.engine.unfinished < 2:  # noqa: ASYNC110 - no event for it
                await asyncio.sleep(0.01)
        status, refused = await client.post(TEXT, prompt="a")
        anthropic = await client.post("/v1/messages", messages=MESSAGES, max_tokens=3)
        metrics = client.engine.metrics.render().decode()
        assert [status for status, _ in await asyncio.gather(*running)] == [200, 200]
        assert (await client.post(TEXT, prompt="a"))[0] == 200
    assert (status, refused["error"]["type"], refused["error"]["code"]) == (503, "Service Unavailable", 503)
    assert anthropic[0] == 503
    assert 'vllm:admission_rejections_total{model_name="tiny",reason="max_num_queued_reqs"} 2.0' in metrics
    assert 'vllm:num_requests_running{engine="0",model_name="tiny"} 1.0' in metrics
    assert 'vllm:num_requests_waiting{engine="0",model_name="tiny"} 1.0' in metrics


async def test_the_same_request_has_the_same_answer_every_time():
    async with simulated() as client:
        texts = [
            (await client.post(TEXT, prompt="a", max_tokens=20, **how))[1]["choices"][0]["text"]
            for how in ({"temperature": 0}, {"temperature": 0}, {"seed": 5}, {"seed": 5})
        ]
    assert len(set(texts)) == 1


async def test_embeddings_in_place_of_answers():
    async with simulated("--runner=pooling") as client:
        status, found = await client.post("/v1/embeddings", input=["a", "b"])
        _, packed = await client.post("/v1/embeddings", input="a", encoding_format="base64")
        refused, error = await client.post("/v1/embeddings")
        nothing, _ = await client.post(TEXT, prompt="a")
    first, second = (each["embedding"] for each in found["data"])
    assert (status, [each["index"] for each in found["data"]], found["usage"]["prompt_tokens"]) == (200, [0, 1], 2)
    assert first != second
    assert sum(number * number for number in first) == pytest.approx(1)
    raw = base64.b64decode(packed["data"][0]["embedding"])
    assert struct.unpack(f"<{len(raw) // 4}f", raw) == pytest.approx(first)
    assert (refused, error["error"]["param"], nothing) == (400, "body.input", 404)
