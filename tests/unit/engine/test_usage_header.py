"""The middleware that tells the router an answer's tokens: what it tells, and that nothing else ever changes."""

import asyncio
import json
import time

import httpx
import pytest
from fastapi import FastAPI
from fastapi.responses import JSONResponse, StreamingResponse

from manta_runtime.engine.usage_header import (
    CACHED_HEADER,
    COMPLETION_HEADER,
    MIDDLEWARE,
    PROMPT_HEADER,
    UsageHeaders,
    tokens_of,
)

# As vLLM 0.32 wrote it (tiny model on a CPU), shortened.
CHAT = (
    b'{"id":"chatcmpl-9","object":"chat.completion","created":1763,"model":"tiny","choices":[{"index":0,"message":{'
    b'"role":"assistant","content":" \\"usage\\":{\\"prompt_tokens\\":1}","refusal":null,"tool_calls":[]},'
    b'"logprobs":null,"finish_reason":"length","stop_reason":null}],"service_tier":null,"system_fingerprint":"vllm",'
    b'"usage":{"prompt_tokens":33,"total_tokens":41,"completion_tokens":8,"prompt_tokens_details":{"cached_tokens":16},'
    b'"completion_tokens_details":null},"prompt_logprobs":null,"kv_transfer_params":null}'
)
MESSAGE = {"input_tokens": 17, "output_tokens": 8, "cache_creation_input_tokens": 4, "cache_read_input_tokens": 16}
RESPONSE = {
    "input_tokens": 33,
    "input_tokens_details": {"cached_tokens": 16, "input_tokens_per_turn": []},
    "output_tokens": 8,
    "output_tokens_details": {"reasoning_tokens": 0},
    "total_tokens": 41,
}


def whole(usage):
    return json.dumps({"usage": usage}).encode()


@pytest.mark.parametrize(
    ("body", "tokens"),
    [
        (CHAT, (33, 8, 16)),
        (whole({"prompt_tokens": 33, "total_tokens": 41, "completion_tokens": 8}), (33, 8, 0)),
        (
            whole({"prompt_tokens": 5, "total_tokens": 5, "completion_tokens": 0, "prompt_tokens_details": None}),
            (5, 0, 0),
        ),
        (whole(MESSAGE), (37, 8, 16)),
        (whole({"input_tokens": 17, "output_tokens": 8}), (17, 8, 0)),
        (whole(RESPONSE), (33, 8, 16)),
        (whole(None), None),
        (b'{"error":{"message":"no"}}', None),
        (b'{"tools":[{"usage":{"prompt_tokens":1}}],"metadata":{"usage":{"prompt_tokens":2}}}', None),
    ],
)
def test_what_is_told(body, tokens):
    assert tokens_of(body) == tokens


def application():
    app = FastAPI()

    @app.post("/v1/chat/completions")
    async def chat(kind: str = "json"):
        if kind == "stream":
            return StreamingResponse(iter([b"data: {}\n\n", CHAT]), media_type="text/event-stream")
        if kind == "pieces":
            return StreamingResponse(iter([CHAT[:50], CHAT[50:]]), media_type="application/json")
        if kind == "refused":
            return JSONResponse({"usage": MESSAGE}, status_code=400)
        if kind == "fails":
            raise ZeroDivisionError
        return JSONResponse(json.loads(CHAT) if kind == "json" else {"usage": {"prompt_tokens": "many"}})

    @app.get("/v1/responses/1")
    async def again():
        return {"usage": RESPONSE}

    app.add_middleware(UsageHeaders)
    return app


async def ask(kind="json", method="POST", path="/v1/chat/completions"):
    transport = httpx.ASGITransport(application(), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://engine") as client:
        return await client.request(method, path, params={"kind": kind})


def told(answer):
    return [answer.headers.get(name) for name in (PROMPT_HEADER, COMPLETION_HEADER, CACHED_HEADER)]


async def test_a_whole_answer_gets_the_headers():
    answer = await ask()
    assert told(answer) == ["33", "8", "16"]
    assert answer.json() == json.loads(CHAT)


@pytest.mark.parametrize(
    ("kind", "status"), [("stream", 200), ("pieces", 200), ("refused", 400), ("fails", 500), ("odd", 200)]
)
async def test_nothing_else_does(kind, status):
    answer = await ask(kind)
    assert (answer.status_code, told(answer)) == (status, [None] * 3)
    assert kind not in ("stream", "pieces") or answer.content.endswith(CHAT)


@pytest.mark.parametrize(("method", "status"), [("GET", 200), ("HEAD", 405)])
async def test_an_answer_that_is_fetched_again_is_not_counted_again(method, status):
    answer = await ask(method=method, path="/v1/responses/1")
    assert (answer.status_code, told(answer)) == (status, [None] * 3)


@pytest.mark.parametrize("kind", ["lifespan", "websocket"])
async def test_other_scopes_pass_untouched(kind):
    seen = []

    async def app(scope, receive, send):
        seen.append((scope, receive, send))

    scope, receive, send = {"type": kind}, object(), object()
    await UsageHeaders(app)(scope, receive, send)
    assert seen == [(scope, receive, send)]


def post(app, send):
    return UsageHeaders(app)({"type": "http", "method": "POST", "path": "/v1/x"}, None, send)


HEAD = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(CHAT))],
}


async def test_a_head_without_a_body_is_sent_all_the_same():
    sent = []

    async def send(message):
        sent.append(message)

    await post(lambda scope, receive, tell: tell(HEAD), send)
    assert sent == [HEAD]


async def test_chunks_of_streams_go_straight_to_the_server():
    async def send(message):
        return message

    async def app(scope, receive, tell):
        await tell(HEAD | {"headers": [(b"content-type", b"text/event-stream")]})
        chunk = {"type": "http.response.body", "body": b"data: {}\n\n", "more_body": True}
        awaitable = tell(chunk)
        assert awaitable.cr_code is send.__code__
        assert await awaitable is chunk

    await post(app, send)


async def test_it_costs_a_few_microseconds():
    async def send(message):
        pass

    async def app(scope, receive, tell):
        await tell(HEAD)
        await tell({"type": "http.response.body", "body": CHAT})

    async def seconds(call):
        began = time.thread_time()
        for _ in range(50):
            await call()
        return (time.thread_time() - began) / 50

    # Many short ones: on a machine with much else to do one of them at least has the CPU and its caches to itself.
    best = min([await seconds(lambda: post(app, send)) for _ in range(100)])
    bare = min([await seconds(lambda: app(None, None, send)) for _ in range(100)])
    print(f"{1e6 * (best - bare):.1f} µs")
    assert best - bare < 50e-6


def test_vllm_loads_it_by_this_name():
    import importlib

    module, _, name = MIDDLEWARE.rpartition(".")
    assert getattr(importlib.import_module(module), name) is UsageHeaders
    assert not asyncio.iscoroutinefunction(UsageHeaders)
