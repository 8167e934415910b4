"""The middleware that makes a dead engine's 500 a 503: what it changes, and that no other answer ever changes."""

import importlib
from types import SimpleNamespace

import httpx
import pytest
from fastapi import FastAPI
from fastapi.responses import JSONResponse, StreamingResponse

from manta_runtime.engine.dead_engine import MIDDLEWARE, DeadEngineAnswers

DEAD, ALIVE = SimpleNamespace(errored=True), SimpleNamespace(errored=False)
# As vLLM 0.32 wrote it when its engine core was killed.
VLLMS = {
    "error": {
        "message": "EngineCore encountered an issue. See stack trace (above) for the root cause.",
        "type": "InternalServerError",
        "param": None,
        "code": 500,
    }
}


class EngineDead(Exception):
    """As vLLM's, which a handler of its own answers."""


def application(engine):
    app = FastAPI()
    if engine is not None:
        app.state.engine_client = engine

    @app.exception_handler(EngineDead)
    async def answer(_request, _error):
        return JSONResponse(VLLMS, status_code=500, headers={"x-request-id": "7"})

    @app.post("/v1/completions")
    async def completions(kind: str):
        if kind == "dies":
            raise EngineDead
        if kind == "breaks":
            raise ZeroDivisionError
        if kind == "stream":
            return StreamingResponse(iter([b"data: {}\n\n", b'data: {"error":{}}\n\n']), media_type="text/event-stream")
        return JSONResponse({"said": kind}, status_code=int(kind))

    app.add_middleware(DeadEngineAnswers)
    return app


async def ask(engine, kind):
    transport = httpx.ASGITransport(application(engine), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://engine") as client:
        return await client.post("/v1/completions", params={"kind": kind})


@pytest.mark.parametrize("kind", ["dies", "breaks", "500"])
async def test_what_fails_with_a_dead_engine_is_for_another_replica(kind):
    answer = await ask(DEAD, kind)
    assert answer.status_code == 503
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["error"] | {"message": ""} == {
        "message": "",
        "type": "service_unavailable",
        "param": None,
        "code": "engine_dead",
    }
    assert answer.headers.get("x-request-id") == ("7" if kind == "dies" else None)


@pytest.mark.parametrize("engine", [ALIVE, None, SimpleNamespace(), SimpleNamespace(errored=object())])
@pytest.mark.parametrize("kind", ["dies", "breaks", "500"])
async def test_a_500_of_an_engine_that_lives_is_the_clients(engine, kind):
    answer = await ask(engine, kind)
    assert answer.status_code == 500
    assert kind != "dies" or answer.json() == VLLMS


@pytest.mark.parametrize("kind", ["200", "400", "404", "422", "429", "501", "503"])
async def test_other_answers_pass_also_beside_a_dead_engine(kind):
    answer = await ask(DEAD, kind)
    assert (answer.status_code, answer.json()) == (int(kind), {"said": kind})


async def test_a_stream_that_has_begun_keeps_its_error_event():
    answer = await ask(DEAD, "stream")
    assert (answer.status_code, answer.content) == (200, b'data: {}\n\ndata: {"error":{}}\n\n')


@pytest.mark.parametrize("kind", ["lifespan", "websocket"])
async def test_other_scopes_pass_untouched(kind):
    seen = []

    async def app(scope, receive, send):
        seen.append((scope, receive, send))

    scope, receive, send = {"type": kind}, object(), object()
    await DeadEngineAnswers(app)(scope, receive, send)
    assert seen == [(scope, receive, send)]


async def test_what_raises_after_it_has_begun_is_not_answered_twice():
    sent = []

    async def app(_scope, _receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise ZeroDivisionError

    async def send(message):
        sent.append(message["type"])

    scope = {"type": "http", "app": SimpleNamespace(state=SimpleNamespace(engine_client=DEAD))}
    with pytest.raises(ZeroDivisionError):
        await DeadEngineAnswers(app)(scope, None, send)
    assert sent == ["http.response.start"]


def test_vllm_loads_it_by_this_name():
    module, _, name = MIDDLEWARE.rpartition(".")
    assert getattr(importlib.import_module(module), name) is DeadEngineAnswers
