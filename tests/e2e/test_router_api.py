"""What clients see of vLLM's API through the router: one real engine behind a real Envoy and picker, cache and all."""

import asyncio
import importlib.util
import json
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp
import openai
import pytest
import pytest_asyncio
import yaml
import yarl
from one_engine import is_serving, running_engine

from manta_runtime.engine.usage_header import MIDDLEWARE

# pytest's importlib mode puts no test folder on sys.path.
_spec = importlib.util.spec_from_file_location(
    "router_fakes", Path(__file__).parents[1] / "integration" / "router_fakes.py"
)
fakes = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(fakes)
FLAGS = (f"--middleware={MIDDLEWARE}", "--enable-auto-tool-choice", "--tool-call-parser", "hermes")
ENGINE, URL = f"{fakes.NET}.10", fakes.URL

pytestmark = [pytest.mark.asyncio(loop_scope="module")]

MESSAGES = [{"role": "user", "content": "What is a manta ray?"}]
CHAT, TEXT, RESPONSES, MESSAGE = "/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/messages"
# Neither temperature 0 nor a seed: the response cache has no part in it, and one likeliest token keeps answers equal.
GREEDY = {"model": "tiny", "top_k": 1}
ASKED = {
    CHAT: GREEDY | {"messages": MESSAGES, "max_tokens": 16},
    TEXT: GREEDY | {"prompt": "A manta ray", "max_tokens": 16, "ignore_eos": True},
    RESPONSES: GREEDY | {"input": "What is a manta ray?", "max_output_tokens": 16},
    MESSAGE: GREEDY | {"messages": MESSAGES, "max_tokens": 16},
}
WITH_USAGE = {"stream": True, "stream_options": {"include_usage": True}}
SCHEMA = {"type": "object", "properties": {"sea": {"type": "boolean"}}, "required": ["sea"]}
TOOL = {"type": "function", "function": {"name": "look_up", "parameters": SCHEMA}}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def session(tmp_path_factory):
    """A client; engine, API server and router run as long as it does."""
    folder = tmp_path_factory.mktemp("router-api")
    async with AsyncExitStack() as stack:
        engine = await stack.enter_async_context(running_engine(folder, ENGINE, *FLAGS))
        client = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60))
        await stack.enter_async_context(client)
        api = fakes.FakeApiServer()
        await api.start()
        stack.push_async_callback(api.stop)
        api.set("tiny-0-0", ENGINE)
        assert await is_serving(client, engine, ENGINE), (folder / "engine.log").read_text()[-3000:]
        router = fakes.Router(folder, client, api.ca)
        config = {
            "deployment": "tiny",
            "namespace": "ns",
            "servedNames": ["tiny"],
            "selector": "a=b",
            "drainSeconds": 1,
        }
        config["cache"] = {"maxBytes": 1 << 20, "ttlSeconds": 600}
        (folder / "router.yaml").write_text(yaml.safe_dump(config))
        await router.start()
        stack.push_async_callback(router.stop)
        await router.usable(1)
        yield client


async def post(session, path, body, *, base=URL, headers=None):
    """(status, headers, body) of the answer."""
    async with session.post(base + path, json=body, headers=headers) as response:
        return response.status, response.headers, await response.read()


async def answer(session, path, **more):
    status, _, body = await post(session, path, ASKED[path] | more)
    assert status == 200, body
    return json.loads(body)


async def both(session, path, **more):
    """The same request, asked through the router and of the engine itself; the bytes of both answers."""
    bodies = []
    for base in (URL, f"http://{ENGINE}:8000"):
        status, _, body = await post(session, path, ASKED[path] | more, base=base)
        assert status == 200, body
        bodies.append(body)
    return bodies


def events(body):
    return [json.loads(line[6:]) for line in body.split(b"\n") if line.startswith(b"data: {")]


def told(event):
    """An event without what differs from request to request."""
    if isinstance(event, dict):
        mine = {"id", "item_id", "created", "created_at", "usage", "system_fingerprint", "max_output_tokens"}
        return {key: told(value) for key, value in event.items() if key not in mine}
    return [told(each) for each in event] if isinstance(event, list) else event


@pytest.mark.parametrize("path", ASKED)
async def test_whole_answers_are_the_engines(session, path):
    through, direct = await both(session, path)
    assert told(json.loads(through)) == told(json.loads(direct))
    assert json.loads(through)["usage"], "whole answers have their usage"


@pytest.mark.parametrize("path", ASKED)
async def test_streamed_answers_are_the_engines(session, path):
    through, direct = await both(session, path, stream=True)
    assert through.count(b"\n\n") >= 3
    texts = [_text(path, events(body)) for body in (through, direct)]
    assert texts[0] == texts[1] != ""
    if path in (CHAT, TEXT):
        assert b'"usage"' not in through, "who did not ask does not see it"
        assert through.endswith(b"\n\ndata: [DONE]\n\n")
    else:
        assert b'"usage":{"input_tokens"' in through, "it is part of these APIs' own events"


def _text(path, found):
    if path == RESPONSES:
        return "".join(each["delta"] for each in found if each["type"] == "response.output_text.delta")
    if path == MESSAGE:
        return "".join(each["delta"]["text"] for each in found if each["type"] == "content_block_delta")
    choices = [choice for each in found for choice in each["choices"]]
    return "".join(choice["text"] if path == TEXT else choice["delta"].get("content", "") for choice in choices)


@pytest.mark.parametrize("path", [CHAT, TEXT])
async def test_usage_comes_to_those_who_ask(session, path):
    through, direct = await both(session, path, **WITH_USAGE)
    mine, theirs = events(through), events(direct)
    assert [bool(event.get("usage")) for event in mine] == [False] * (len(mine) - 1) + [True]
    assert (mine[-1]["choices"], theirs[-1]["choices"]) == ([], [])
    assert mine[-1]["usage"]["total_tokens"] == theirs[-1]["usage"]["total_tokens"]
    assert _text(path, mine) == _text(path, theirs)


@pytest.mark.parametrize(("path", "more"), [*((path, {"stream": True}) for path in ASKED), (TEXT, {})])
async def test_tokens_are_counted_even_of_streams_whose_client_does_not_see_them(session, path, more):
    async def counted():
        async with session.get(f"http://{fakes.POD}:9002/metrics") as response:
            lines = (await response.text()).splitlines()
        return sum(float(line.split()[1]) for line in lines if "_tokens_total{" in line and '"completion"' in line)

    async def settled():
        return await asyncio.sleep(0.2, await counted()) == await counted()

    await fakes.until(settled)
    before = await counted()
    assert (await post(session, path, ASKED[path] | more))[0] == 200

    async def told():
        return await counted() > before and await settled()

    await fakes.until(told)
    assert await counted() - before == 16


async def test_models_are_listed_and_described(session):
    async with session.get(f"{URL}/v1/models") as response:
        listed = await response.json()
    assert [(model["id"], model["object"]) for model in listed["data"]] == [("tiny", "model")]
    client = openai.AsyncOpenAI(base_url=f"{URL}/v1", api_key="none", max_retries=0)
    async with client:
        assert (await client.models.retrieve("tiny")).id == "tiny"
        with pytest.raises(openai.NotFoundError):
            await client.models.retrieve("other")


async def test_tools_reach_the_engine_and_tool_calls_the_client(session):
    choice = {"type": "function", "function": {"name": "look_up"}}
    asked = {"messages": MESSAGES, "tools": [TOOL], "tool_choice": choice, "max_tokens": 30}
    through, direct = await both(session, CHAT, **asked)
    assert told(json.loads(through)) == told(json.loads(direct))
    async with openai.AsyncOpenAI(base_url=f"{URL}/v1", api_key="none", max_retries=0) as client:
        chunks = [chunk async for chunk in await client.chat.completions.create(model="tiny", stream=True, **asked)]
    calls = [call for chunk in chunks for call in chunk.choices[0].delta.tool_calls or ()]
    assert calls[0].function.name == "look_up"
    assert chunks[-1].usage is None


REFUSED = {
    "another model": (CHAT, {"model": "other", "messages": MESSAGES}, 404, "model_not_found"),
    "another model, Anthropic's API": (MESSAGE, {"model": "other", "messages": MESSAGES, "max_tokens": 3}, 404, None),
    "no body at all": (CHAT, None, 400, None),
    "too many tokens": (CHAT, {"model": "tiny", "messages": MESSAGES, "max_tokens": 5000}, 400, 400),
    "no messages": (CHAT, {"model": "tiny"}, 400, 400),
    "too hot": (TEXT, {"model": "tiny", "prompt": "a", "temperature": 9}, 400, 400),
}


@pytest.mark.parametrize(("path", "body", "status", "code"), REFUSED.values(), ids=REFUSED)
async def test_refusals_have_openais_form(session, path, body, status, code):
    data = b"" if body is None else json.dumps(body).encode()
    async with session.post(URL + path, data=data, headers={"content-type": "application/json"}) as response:
        assert (response.status, response.content_type) == (status, "application/json")
        error = (await response.json())["error"]
    assert error["message"]
    assert error["type"]
    assert code is None or error["code"] == code


@pytest.mark.parametrize("data", [b"{", b"[]", b'"a"', b"\xff", b'{"model": 5}'])
async def test_what_is_no_json_object_with_a_model_is_a_400(session, data):
    async with session.post(URL + CHAT, data=data, headers={"content-type": "application/json"}) as response:
        assert response.status == 400
        assert (await response.json())["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    "path",
    [
        *("/metrics", "/health", "/version", "/tokenize", "/detokenize", "/invocations", "/load", "/ping", "/docs"),
        *("/v1", "/v1/load_lora_adapter", "/v1/unload_lora_adapter", "/inference/v1/generate", "/pooling"),
        *("/v1//../metrics", "/v1/%2e%2e/metrics", "/v1/chat/completions/../../../metrics", "/openapi.json"),
        *("/v1/completions%2f..%2f..%2fmetrics", "/v1/models/%2e%2e/%2e%2e/metrics", "/v1/completions;/../../metrics"),
    ],
)
async def test_the_engines_other_endpoints_are_not_there(session, path):
    for method in ("GET", "POST"):
        async with session.request(method, yarl.URL(URL + path, encoded=True), data=b"{}") as response:
            text = await response.text()
            assert response.status in (400, 404), text
            assert "vllm:" not in text


async def test_embeddings_of_a_model_that_makes_none_are_the_engines_404(session):
    assert (await post(session, "/v1/embeddings", {"model": "tiny", "input": "a"}))[0] == 404


@pytest.mark.parametrize("more", [{}, {"stream": True}, WITH_USAGE], ids=["whole", "streamed", "streamed with usage"])
@pytest.mark.parametrize("path", ASKED)
async def test_a_repeated_deterministic_request_is_a_hit_byte_for_byte(session, path, more):
    if path in (RESPONSES, MESSAGE) and more is WITH_USAGE:
        more = {"stream": True, "top_p": 0.9}
    asked = ASKED[path] | more | {"temperature": 0}
    first = await post(session, path, asked)
    spelled = dict(reversed(asked.items()))
    again = await post(session, path, spelled)
    assert (first[0], again[0]) == (200, 200), first[2]
    assert (first[1]["x-manta-cache"], again[1]["x-manta-cache"]) == ("miss", "hit")
    assert again[2] == first[2]
    assert again[1]["content-type"] == first[1]["content-type"]
    assert int(again[1]["age"]) >= 0
    assert "x-manta-replica" in first[1]
    assert (b'"usage"' in first[2]) is ("stream" not in more or "stream_options" in more or path not in (CHAT, TEXT))


async def test_the_client_has_a_say_in_what_is_cached(session):
    asked = ASKED[TEXT] | {"seed": 7, "max_tokens": 4}
    for control, found in (
        ("no-store", None),
        ("", "miss"),
        ("", "hit"),
        ("no-store", None),
        ("no-cache", "miss"),
        ("max-age=60", "hit"),
    ):
        status, headers, _ = await post(session, TEXT, asked, headers={"cache-control": control} if control else None)
        assert (status, headers.get("x-manta-cache")) == (200, found), control
    status, headers, _ = await post(session, TEXT, ASKED[TEXT])
    assert "x-manta-cache" not in headers, "without temperature 0 or a seed nothing is cached"


async def test_a_hit_costs_the_engine_nothing_and_errors_are_not_kept(session):
    async def finished():
        async with session.get(f"http://{ENGINE}:8000/metrics") as response:
            lines = [
                line for line in (await response.text()).splitlines() if line.startswith("vllm:request_success_total")
            ]
        return sum(float(line.split()[-1]) for line in lines)

    asked = ASKED[CHAT] | {"temperature": 0, "max_tokens": 5}
    assert (await post(session, CHAT, asked))[0] == 200
    before = await finished()
    for _ in range(5):
        assert (await post(session, CHAT, asked))[1]["x-manta-cache"] == "hit"
    assert await finished() == before
    for _ in range(2):
        status, headers, _ = await post(session, CHAT, asked | {"max_tokens": 5000})
        assert (status, headers["x-manta-cache"]) == (400, "miss")


async def test_clients_cannot_choose_the_destination(session):
    told = {"x-gateway-destination-endpoint": "127.0.0.1:1", "x-manta-way": "cache", "x-manta-replica": "me"}
    status, headers, _ = await post(session, TEXT, ASKED[TEXT], headers=told)
    assert (status, headers["x-manta-replica"]) == (200, "tiny-0-0")
    assert not {"x-manta-tenant", "x-gateway-destination-endpoint", "x-manta-way"} & {name.lower() for name in headers}
