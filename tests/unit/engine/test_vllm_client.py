"""What the launcher concludes from an engine's HTTP answers, against a small server on loopback."""

import socket

import aiohttp
import pytest
from aiohttp import web

from manta_runtime.engine.progress import Look
from manta_runtime.engine.vllm_client import VllmClient


def application_of(answers, seen):
    async def health(_):
        return web.Response(status=answers["health"])

    async def completion(request):
        seen["body"] = await request.json()
        seen["authorization"] = request.headers.get("Authorization", "")
        seen["data rank"] = request.headers.get("X-data-parallel-rank")
        status, body = answers["completion"]
        return web.json_response(body, status=status)

    async def classes(request):
        seen["body"] = await request.json()
        status, body = answers.get("classes", (404, {"detail": "Not Found"}))
        return web.json_response(body, status=status)

    async def metrics(_):
        return web.Response(text=answers["metrics"])

    async def load(_):
        return web.json_response(answers["load"])

    gets = {"/health": health, "/metrics": metrics, "/load": load}
    posts = {"/v1/completions": completion, "/classify": classes}
    application = web.Application()
    application.add_routes([*(web.get(*each) for each in gets.items()), *(web.post(*each) for each in posts.items())])
    return application


@pytest.fixture
async def engine():
    """A server whose answers a test sets; yields (answers, client)."""
    answers = {
        "health": 200,
        "completion": (200, {"usage": {"completion_tokens": 1}}),
        "metrics": "",
        "load": {"server_load": 0},
    }
    seen = {}

    runner = web.AppRunner(application_of(answers, seen))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    async with aiohttp.ClientSession() as session:
        yield answers, seen, VllmClient(session, "127.0.0.1", runner.addresses[0][1], "tiny", api_key="k")
    await runner.cleanup()


async def test_a_token_counts_only_when_one_was_produced(engine):
    answers, seen, client = engine
    assert await client.produce_token() == ""
    assert seen["body"]["model"] == "tiny"
    assert seen["body"]["max_tokens"] == 1
    assert seen["authorization"] == "Bearer k"
    assert seen["data rank"] is None
    assert await client.produce_token(1) == ""
    assert (seen["authorization"], seen["data rank"]) == ("Bearer k", "1")
    answers["completion"] = (200, {"usage": {"completion_tokens": 0}})
    assert "produced no token" in await client.produce_token()
    answers["completion"] = (404, {"message": "The model `tiny` does not exist."})
    assert "answered 404" in await client.produce_token()


async def test_a_model_that_makes_vectors_is_asked_for_one(engine):
    answers, seen, client = engine
    answers["completion"] = (404, {"detail": "Not Found"})
    answers["classes"] = (200, {"data": [{"probs": [1.0]}]})
    assert await client.produce_token() == ""
    assert seen["body"] == {"model": "tiny", "input": "Hello"}
    answers["classes"] = (500, {"message": "EngineCore died"})
    assert (await client.produce_token()).startswith("/classify answered 500")
    answers.pop("classes")
    assert await client.produce_token() == '/v1/completions answered 404: {"detail": "Not Found"}'


async def test_every_data_rank_must_produce_a_token(engine):
    answers, seen, client = engine
    assert await client.produce_tokens(1) == ""
    assert seen["data rank"] is None
    assert await client.produce_tokens(2) == ""
    assert seen["data rank"] == "1"
    answers["completion"] = (500, {"message": "EngineCore died"})
    assert (await client.produce_tokens(2)).startswith("data rank 0 of 2: /v1/completions answered 500")


async def test_health_is_a_200(engine):
    answers, _, client = engine
    assert await client.healthy()
    answers["health"] = 503
    assert not await client.healthy()


async def test_in_flight_comes_from_the_metrics(engine):
    answers, _, client = engine
    assert await client.activity() == (None, None)
    answers["metrics"] = "vllm:num_requests_running 2.0\nvllm:num_requests_waiting 1.0\n"
    assert await client.activity() == (3, None)


async def test_a_look_tells_what_moved_and_who_waits(engine):
    answers, _, client = engine
    assert await client.look() is None
    answers["load"] = {"server_load": 2}
    answers["metrics"] = "process_cpu_seconds_total 7.0\n"
    assert await client.look() == {}, "it runs with --disable-log-stats"
    answers["metrics"] = ""
    assert await client.look() is None
    answers["metrics"] = "vllm:kv_cache_usage_perc 0.5\nprocess_cpu_seconds_total 7.0\n"
    assert await client.look() == {"0": Look(("vllm:kv_cache_usage_perc 0.5",), 2)}
    answers["load"] = {"detail": "Not Found"}
    assert await client.look() is None


async def test_nobody_there():
    with socket.socket() as unused:  # bound and not listening, so that nobody else does
        unused.bind(("127.0.0.1", 0))
        async with aiohttp.ClientSession() as session:
            client = VllmClient(session, "127.0.0.1", unused.getsockname()[1], "tiny")
            assert not await client.healthy()
            assert await client.activity() == (None, None)
            assert await client.look() is None
            assert "ClientConnectorError" in await client.produce_token()
