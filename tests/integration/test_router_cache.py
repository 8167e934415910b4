"""The response cache behind a real Envoy and picker: hits of every size, dead replicas, clients that leave."""

import asyncio
import importlib.util
import json
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio
import yaml
from aiohttp import web

# pytest's importlib mode puts no test folder on sys.path.
_spec = importlib.util.spec_from_file_location("router_fakes", Path(__file__).with_name("router_fakes.py"))
fakes = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(fakes)
ENGINE, NOBODY, URL = f"{fakes.NET}.20", f"{fakes.NET}.21", fakes.URL

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="module")]

USAGE = b'data: {"choices":[],"usage":{"prompt_tokens":3,"total_tokens":5,"completion_tokens":2}}\n\n'
DONE = b"data: [DONE]\n\n"
ODD = 'a "quoted" %LOCAL_REPLY_BODY% %REQ(:path)% 100% \\ \u0000 \u2028 \u00e9 \U0001f42c {"usage":{}} '


class Engine:
    """Answers with `text`: whole, or a word an event, with usage if asked; `gate` holds streams back at their end."""

    def __init__(self):
        self.text, self.served, self.left = "words", 0, 0
        self.gate = asyncio.Event()

    async def start(self):
        app = web.Application(client_max_size=64 << 20)
        app.router.add_get("/metrics", self.metrics)
        app.router.add_get("/v1/models", self.models)
        app.router.add_post("/v1/completions", self.answer)
        self.runner = web.AppRunner(app, shutdown_timeout=0, handler_cancellation=True)
        await self.runner.setup()
        await web.TCPSite(self.runner, ENGINE, 8000).start()

    async def metrics(self, _):
        return web.Response(text='vllm:num_requests_running{m="t"} 0.0\n')

    async def models(self, _):
        return web.json_response({"object": "list", "data": [{"id": "t", "object": "model"}]})

    async def answer(self, request):
        self.served += 1
        body = await request.json()
        if not body.get("stream"):
            return web.json_response({"choices": [{"text": self.text, "finish_reason": "stop"}]})
        response = web.StreamResponse(headers={"content-type": "text/event-stream; charset=utf-8"})
        await response.prepare(request)
        try:
            for word in self.text.split(" "):
                chunk = json.dumps({"choices": [{"text": word, "finish_reason": None}]}, separators=(",", ":"))
                await response.write(f"data: {chunk}\n\n".encode())
            await self.gate.wait()
        except asyncio.CancelledError:
            self.left += 1
            raise
        asked = (body.get("stream_options") or {}).get("include_usage")
        await response.write((USAGE if asked else b"") + DONE)
        return response


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory):
    api, engine = fakes.FakeApiServer(), Engine()
    async with AsyncExitStack() as stack:
        for server in (api, engine):
            await server.start()
        stack.push_async_callback(api.stop)
        stack.push_async_callback(engine.runner.cleanup)
        session = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=20), connector=aiohttp.TCPConnector(limit=0)
        )
        await stack.enter_async_context(session)
        folder = tmp_path_factory.mktemp("router")
        router = fakes.Router(folder, session, api.ca)
        config = {"deployment": "t", "namespace": "ns", "servedNames": ["t"], "selector": "a=b", "drainSeconds": 1}
        config["cache"] = {"maxBytes": 32 << 20, "ttlSeconds": 600}
        (folder / "router.yaml").write_text(yaml.safe_dump(config))
        await router.start()
        stack.push_async_callback(router.stop)
        api.set("a", ENGINE)
        await router.usable(1)
        yield router, api, session, engine


@pytest_asyncio.fixture(loop_scope="module")
async def ask(world):
    """A function that asks for a deterministic answer: (status, what the cache did, body)."""
    _, _, session, engine = world
    engine.text, engine.left = "words", 0
    engine.gate.set()

    async def post(prompt, **more):
        asked = {"model": "t", "prompt": prompt, "temperature": 0} | more
        async with session.post(f"{URL}/v1/completions", json=asked) as response:
            return response.status, response.headers.get("x-manta-cache"), await response.read()

    return post


@pytest.mark.parametrize("stream", [{}, {"stream": True}, {"stream": True, "stream_options": {"include_usage": True}}])
@pytest.mark.parametrize("text", [ODD, "word " * 20_000, "w" * 3_000_000], ids=["odd", "many words", "3 MB"])
async def test_a_hit_has_the_bytes_of_the_miss(world, ask, text, stream):
    engine = world[3]
    engine.text = text
    served = engine.served
    first = await ask(f"{len(text)}{text[:9]}", **stream)
    again = await ask(f"{len(text)}{text[:9]}", **stream)
    assert (first[0], again[0], engine.served) == (200, 200, served + 1)
    assert (first[1], again[1]) == ("miss", "hit")
    assert again[2] == first[2]
    assert (USAGE in first[2]) is ("stream_options" in stream)
    assert len(first[2]) > len(text)


async def test_a_stream_is_kept_only_once_it_is_complete(world, ask):
    engine, session = world[3], world[2]
    engine.gate.clear()
    asked = {"model": "t", "prompt": "slow", "temperature": 0, "stream": True}
    async with session.post(f"{URL}/v1/completions", json=asked) as running:
        assert await running.content.readline()
        async with session.post(f"{URL}/v1/completions", json=asked) as second:
            assert second.headers["x-manta-cache"] == "miss", "two at once are two requests"
            assert await second.content.readline()
            engine.gate.set()
            assert await second.content.read() == await running.content.read()
    assert (await ask("slow", stream=True))[1] == "hit"


async def test_hundreds_of_streams_at_once_are_all_whole_and_kept(world, ask):
    engine, count = world[3], 600
    engine.gate.clear()
    served = engine.served
    running = [asyncio.create_task(ask(f"stream {number}", stream=True)) for number in range(count)]
    await fakes.until(lambda: asyncio.sleep(0, engine.served == served + count))
    engine.gate.set()
    answers = await asyncio.gather(*running)
    assert {(status, found) for status, found, _ in answers} == {(200, "miss")}
    assert all(body.endswith(DONE) for _, _, body in answers)
    again = [await ask(f"stream {number}", stream=True) for number in range(0, count, 50)]
    assert {found for _, found, _ in again} == {"hit"}


async def test_a_client_that_leaves_ends_the_engines_work_and_nothing_is_kept(world, ask):
    engine, session = world[3], world[2]
    engine.gate.clear()
    asked = {"model": "t", "prompt": "left", "temperature": 0, "stream": True}
    async with session.post(f"{URL}/v1/completions", json=asked) as running:
        assert await running.content.readline()
        running.close()
    await fakes.until(lambda: asyncio.sleep(0, engine.left == 1))
    engine.gate.set()
    assert (await ask("left", stream=True))[1] == "miss"


async def test_a_dead_replica_costs_a_miss_nothing(world, ask):
    router, api, _, _ = world
    api.set("dead", NOBODY)
    await router.usable(2)
    answers = [await ask(f"number {number}") for number in range(12)]
    assert [(status, found) for status, found, _ in answers] == [(200, "miss")] * 12
    api.set("dead", NOBODY, ready=False)
    await router.usable(1)


def replica(api, name, address, revision, created, ready=True):
    """A pod as a StatefulSet of that revision makes it."""
    conditions = [{"type": "Ready", "status": "True" if ready else "False"}]
    labels = {"manta.dev/replica": "0", "manta.dev/revision": revision}
    metadata = {"name": name, "uid": f"{name}-{created}", "labels": labels, "creationTimestamp": created}
    api.pods[name] = {"metadata": metadata, "status": {"podIP": address, "conditions": conditions}}
    api._emit("MODIFIED", api.pods[name])


async def test_a_rollout_leaves_the_old_answers_behind_and_a_rollback_finds_them_again(world, ask):
    router, api, _, engine = world
    api.clear()
    await router.usable(0)
    replica(api, "old", ENGINE, "r1", "2026-01-01T00:00:00Z")
    await router.usable(1)
    engine.text = "of old weights"
    assert (await ask("which"))[1] == "miss"
    assert (await ask("which"))[1] == "hit"
    replica(api, "new", NOBODY, "r2", "2026-01-02T00:00:00Z", ready=False)
    assert (await ask("which"))[1] == "hit", "the new replica does not serve yet"
    replica(api, "old", NOBODY, "r1", "2026-01-01T00:00:00Z", ready=False)
    await router.usable(0)
    replica(api, "new", ENGINE, "r2", "2026-01-02T00:00:00Z")
    await router.usable(1)
    engine.text = "of new weights"
    _, found, body = await ask("which")
    assert (found, b"new weights" in body) == ("miss", True)
    assert b"new weights" in (await ask("which"))[2]
    replica(api, "new", NOBODY, "r2", "2026-01-02T00:00:00Z", ready=False)
    await router.usable(0)
    replica(api, "back", ENGINE, "r1", "2026-01-03T00:00:00Z")
    await router.usable(1)
    _, found, body = await ask("which")
    assert (found, b"old weights" in body) == ("hit", True)
    api.clear()
    await router.usable(0)
    api.set("a", ENGINE)
    await router.usable(1)


async def test_the_proxy_is_no_way_around_the_picker(world):
    router, _, _, engine = world
    served = engine.served
    told = {"x-gateway-destination-endpoint": f"{ENGINE}:8000", "x-request-id": "mine"}
    connector = aiohttp.UnixConnector(str(router.folder / "run" / "cache.sock"))
    async with aiohttp.ClientSession("http://cache", connector=connector) as session:
        for path in ("/v1/completions", "/metrics"):
            async with session.post(path, json={"prompt": "a"}, headers=told) as response:
                assert (response.status, (await response.json())["error"]["code"]) == (503, "router_restarted")
    assert engine.served == served


async def test_what_the_cache_does_is_counted(world, ask):
    session = world[2]
    await ask("count me")
    await ask("count me")
    async with session.get(f"http://{fakes.POD}:9002/metrics") as response:
        lines = (await response.text()).splitlines()
    found = {line.split()[0]: float(line.split()[-1]) for line in lines if line.startswith("manta_router_cache_")}
    assert found['manta_router_cache_results_total{result="hit"}'] >= 1
    assert found['manta_router_cache_results_total{result="miss"}'] >= 1
    assert 0 < found["manta_router_cache_bytes"] <= 32 << 20
    assert found["manta_router_cache_entries"] >= 1
