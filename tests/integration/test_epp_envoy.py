"""A real Envoy, configured as gateways are for an InferencePool, asks our picker: what clients and engines see."""

import asyncio
import importlib.util
import json
from contextlib import AsyncExitStack
from io import BytesIO
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web

from manta_runtime.router.config import RouterConfig
from manta_runtime.router.epp.server import serve
from manta_runtime.router.picker.decision import Refused


def _load(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


_HERE = Path(__file__).parent
fakes = _load(_HERE.parent / "unit/router/epp_fakes.py")
gateway = _load(_HERE / "epp_gateway.py")
router_fakes = _load(_HERE / "router_fakes.py")
NET, POD = router_fakes.NET, router_fakes.POD
ENGINES = {"a": f"{NET}.10", "b": f"{NET}.11"}
A, B, DEAD = f"{ENGINES['a']}:8000", f"{ENGINES['b']}:8000", f"{NET}.99:8000"
DUPLEX, BUFFERED = "FULL_DUPLEX_STREAMED", "BUFFERED"
# name: port, body modes, TLS, fail open
GATEWAYS = {
    "duplex": (8081, (DUPLEX, DUPLEX), True, False),
    "buffered-request": (8082, (BUFFERED, DUPLEX), False, False),
    "buffered": (8083, (BUFFERED, BUFFERED), True, False),
    "fail-open": (8084, (DUPLEX, DUPLEX), False, True),
}
each_gateway = pytest.mark.parametrize("name", ["duplex", "buffered-request", "buffered"])

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="module")]
USAGE = {"prompt_tokens": 3, "completion_tokens": 2}


class Engine:
    """Answers with what it got; a stream sends an event per permit, then usage if it was asked for."""

    def __init__(self, name, address):
        self.name, self.address, self.running = name, address, 0
        self.permits = asyncio.Semaphore(0)

    async def start(self):
        app = web.Application(client_max_size=64 << 20)
        app.router.add_route("*", "/{path:.*}", self.answer)
        self.runner = web.AppRunner(app, shutdown_timeout=0, handler_cancellation=True)
        await self.runner.setup()
        await web.TCPSite(self.runner, self.address, 8000).start()

    async def stop(self):
        await self.runner.cleanup()

    async def answer(self, request):
        text = await request.text()
        body = json.loads(text) if text else {}
        if not body.get("stream"):
            headers = sorted(name.lower() for name in request.headers)
            return web.json_response(
                {"engine": self.name, "size": len(text), "got": body.get("n"), "headers": headers, "usage": USAGE},
                headers={"x-manta-prompt-tokens": "3"},
            )
        self.running += 1
        try:
            response = web.StreamResponse(headers={"content-type": "text/event-stream"})
            await response.prepare(request)
            for number in range(3):
                await self.permits.acquire()
                await response.write(b'data: {"choices":[{"text":"%d"}]}\n\n' % number)
            if (body.get("stream_options") or {}).get("include_usage"):
                usage = json.dumps(USAGE, separators=(",", ":"))
                await response.write(b'data: {"choices":[],"usage":%s}\n\n' % usage.encode())
            await response.write(b"data: [DONE]\n\n")
            return response
        finally:
            self.running -= 1


class Picker(fakes.Relay):
    """Our endpoint picker on POD, in this process."""

    def __init__(self):
        super().__init__()
        self.decider = fakes.Scripted(A, B)
        self.stack = AsyncExitStack()

    async def start(self):
        named = {**fakes.CONFIG, "extProcPort": 9005, "hold": {"seconds": 5}}
        config = RouterConfig.model_validate(named)
        await self.stack.enter_async_context(serve(config, POD, self, lambda: True))

    async def stop(self):
        await self.stack.aclose()


class World:
    def __init__(self, engines, picker, session):
        self.engines, self.picker, self.session = engines, picker, session

    def url(self, name, path="/v1/completions"):
        return f"http://{POD}:{GATEWAYS[name][0]}{path}"

    async def ask(self, name, status=200, headers=None, path="/v1/completions", **body):
        content = BytesIO(json.dumps({"model": "t", **body}).encode())
        sent = {"content-type": "application/json", **(headers or {})}
        async with self.session.post(self.url(name, path), data=content, headers=sent) as response:
            text = await response.text()
            assert response.status == status, text
            return json.loads(text), response.headers

    async def end(self):
        """The record of the only request of this test."""
        await router_fakes.until(lambda: asyncio.sleep(0, self.picker.decider.ends))
        (end,) = self.picker.decider.ends
        return end


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(tmp_path_factory):
    folder = tmp_path_factory.mktemp("epp")
    engines = {name: Engine(name, address) for name, address in ENGINES.items()}
    async with AsyncExitStack() as stack:
        for engine in engines.values():
            await engine.start()
            stack.push_async_callback(engine.stop)
        picker = Picker()
        await picker.start()
        stack.push_async_callback(picker.stop)
        pool = [*ENGINES.values(), f"{NET}.99"]
        for name, (port, modes, tls, fail_open) in GATEWAYS.items():
            asked = (POD, 9005 if tls else 9006)
            config = gateway.configuration(port, POD, pool, asked, modes, tls=tls, fail_open=fail_open)
            envoy = await gateway.start(folder, name, config)
            stack.push_async_callback(envoy.wait)
            stack.callback(envoy.terminate)
        session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10))
        await stack.enter_async_context(session)
        world = World(engines, picker, session)
        for name in GATEWAYS:
            await router_fakes.until(lambda name=name: _up(world, name))
        yield world


async def _up(world, name):
    async with world.session.get(world.url(name, "/v1/models")) as response:
        return response.status == 200 and "x-manta-replica" in response.headers


async def _served(world, name):
    async with world.session.post(world.url(name), json={"model": "t"}) as response:
        return response.status == 200


@pytest_asyncio.fixture(loop_scope="module")
async def world(running):
    running.picker.decider = fakes.Scripted(A, B)
    for engine in running.engines.values():
        engine.permits = asyncio.Semaphore(0)
    return running


@each_gateway
@pytest.mark.parametrize("choice", ["a", "b"])
async def test_the_picked_engine_serves_the_whole_request(world, name, choice):
    world.picker.decider.endpoints = (f"{ENGINES[choice]}:8000",)
    prompt = "x" * 600_000
    body, headers = await world.ask(name, prompt=prompt, n=7, headers={"authorization": "Bearer k", "x-api-key": "k"})
    assert (body["engine"], body["got"]) == (choice, 7)
    assert body["size"] == len(json.dumps({"model": "t", "prompt": prompt, "n": 7}))
    assert "authorization" not in body["headers"]
    assert "x-api-key" not in body["headers"]
    assert headers["x-manta-replica"] == "a"
    assert "x-manta-prompt-tokens" not in headers
    end = await world.end()
    assert (end.status, end.upstream, end.flags) == (200, f"{ENGINES[choice]}:8000", "")
    assert (end.prompt_tokens, end.completion_tokens, end.attempts) == (3, 2, 1)


@each_gateway
async def test_a_list_is_gone_through_until_one_serves(world, name):
    world.picker.decider.endpoints = (DEAD, B)
    assert (await world.ask(name))[0]["engine"] == "b"
    end = await world.end()
    assert (end.upstream, end.attempts) == (B, 2)


@each_gateway
async def test_the_subset_of_the_gateway_is_kept_to(world, name):
    body, _ = await world.ask(name, headers={"x-test-subset": B})
    assert body["engine"] == "b"
    _, headers = await world.ask(name, 503, headers={"x-test-subset": "9.9.9.9:1"})
    assert headers["content-type"] == "application/json"


@each_gateway
async def test_refusals_reach_the_client_as_they_are(world, name):
    world.picker.decider.next = lambda _: Refused(429, b'{"error": {"code": "busy"}}', "busy", 7)
    body, headers = await world.ask(name, 429)
    assert body == {"error": {"code": "busy"}}
    assert (headers["retry-after"], headers["content-type"]) == ("7", "application/json")
    assert world.picker.decider.ends == []


@each_gateway
async def test_a_held_request_outlives_the_gateways_timeout(world, name):
    world.picker.decider.next = fakes.hold(3, world.picker.decider.pick)
    assert (await world.ask(name))[0]["engine"] == "a"


@each_gateway
@pytest.mark.parametrize("hide", [True, False])
async def test_streams_pass_and_their_tokens_are_counted(world, name, hide):
    world.picker.decider.hide_usage = hide
    for _ in range(3):
        world.engines["a"].permits.release()
    asked = {} if hide else {"stream_options": {"include_usage": True}}
    async with world.session.post(world.url(name), json={"model": "t", "stream": True, **asked}) as response:
        text = await response.read()
    assert [text.count(word) for word in (b"data:", b'"usage"', b"[DONE]")] == ([4, 0, 1] if hide else [5, 1, 1])
    end = await world.end()
    assert (end.prompt_tokens, end.completion_tokens, end.events) == (3, 2, 5)


@pytest.mark.parametrize("name", ["duplex", "buffered-request"])
async def test_a_stream_passes_event_by_event_and_a_client_that_leaves_frees_its_replica(world, name):
    engine = world.engines["a"]
    async with world.session.post(world.url(name), json={"model": "t", "stream": True}) as response:
        for number in range(2):
            engine.permits.release()
            assert await response.content.readline() == b'data: {"choices":[{"text":"%d"}]}\n' % number
            await response.content.readline()
        response.close()
    end = await world.end()
    assert (end.flags, end.events) == ("DC", 2)
    await router_fakes.until(lambda: asyncio.sleep(0, engine.running == 0))


async def test_a_client_that_leaves_while_held_leaves_the_queue(world):
    waiting = []
    world.picker.decider.next = lambda _: waiting.append(asyncio.get_running_loop().create_future()) or waiting[0]
    asking = asyncio.create_task(world.ask("duplex"))
    await router_fakes.until(lambda: asyncio.sleep(0, waiting))
    asking.cancel()
    await router_fakes.until(lambda: asyncio.sleep(0, waiting[0].cancelled()))


async def test_an_engine_without_a_connection_is_told(world):
    world.picker.decider.endpoints = (DEAD,)
    async with world.session.post(world.url("duplex"), json={"model": "t"}) as response:
        status = response.status
    end = await world.end()
    # Envoy may have gone on to another pod of the pool: then that one is told as the one that served.
    assert (status, end.flags) == (503, "UF") or (status == 200 and end.upstream in (A, B))


async def test_without_its_picker_a_gateway_fails_as_it_was_told(world):
    await world.picker.stop()
    async with world.session.post(world.url("duplex"), json={"model": "t"}) as response:
        assert response.status >= 500
    # Envoy cannot let a body pass that it has given away: only once it knows that the picker is gone (health check).
    await router_fakes.until(lambda: _served(world, "fail-open"))
    assert (await world.ask("fail-open"))[0]["engine"] in ("a", "b")
    await world.picker.start()
    for name in GATEWAYS:
        await router_fakes.until(lambda name=name: _up(world, name))
    assert (await world.ask("duplex"))[0]["engine"] == "a"
