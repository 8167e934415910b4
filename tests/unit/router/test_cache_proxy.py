"""The way of a miss through real sockets: streaming, trying the next replica, breaking off, and what is kept."""

import asyncio
import json
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

import aiohttp
import pytest
from aiohttp import web
from yarl import URL

from manta_runtime.engine.ray_node import free_port
from manta_runtime.router import sockets
from manta_runtime.router.cache.proxy import serve
from manta_runtime.router.cache.response_cache import Destination, Hit, ResponseCache

HOST = "127.0.0.1"
ENVOYS = "http://cache"  # by the socket, whatever the name
PATH = "/v1/chat/completions"
CHUNK = b'data: {"choices":[{"delta":{"content":"word"}}]}\n\n'
DONE = b"data: [DONE]\n\n"
WHOLE = {"choices": [{"finish_reason": "stop"}]}


@dataclass
class Engine:
    """A fake engine: `mode` says how it answers; a stream sends a chunk per permit, 3 in all."""

    mode: str = "whole"
    seen: list = field(default_factory=list)
    permits: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(0))
    left: asyncio.Event = field(default_factory=asyncio.Event)
    sent: int = 0

    async def answer(self, request):
        self.seen.append((request.raw_path, dict(request.headers), await request.read()))
        if self.mode == "break before":
            request.transport.abort()
            return web.Response()
        if self.mode == "silent":
            await asyncio.sleep(9)
        if self.mode == "full":
            return web.json_response({"error": {"message": "queue full"}}, status=503)
        if self.mode == "whole":
            own = {"x-own": "1", "connection": "keep-alive", "X-Manta-Tenant": "t", "X-Manta-Prompt-Tokens": "7"}
            own |= {name: value for name, value in request.headers.items() if name == "x-big"}
            return web.json_response(WHOLE, headers=own)
        try:
            return await self.stream(request)
        except asyncio.CancelledError:
            self.left.set()
            raise

    async def stream(self, request):
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        if self.mode == "flood":
            while self.sent < 1 << 26:
                await response.write(bytes(1 << 16))
                self.sent += 1 << 16
        for number in range(3):
            await self.permits.acquire()
            if self.mode == "break within" and number == 2:
                request.transport.abort()
            await response.write(CHUNK)
        await response.write(DONE)
        return response


class World:
    """A proxy, engines by name, and what Envoy and the picker would do."""

    def __init__(self, stack, session, folder):
        self.stack, self.session, self.folder = stack, session, folder
        self.cache, self.failed = ResponseCache(1 << 20, 100), []
        self.number = 0

    async def start(self):
        listening = sockets.listen(self.folder, sockets.CACHE)
        await self.stack.enter_async_context(serve(self.cache, listening, 1 << 20, self.failed.append, 0.3))
        return self

    async def engine(self, mode):
        engine, port = Engine(mode), free_port(HOST)
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", engine.answer)
        runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0, max_field_size=1 << 16)
        await runner.setup()
        self.stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, HOST, port).start()
        return engine, f"{HOST}:{port}"

    def look(self, stream=False):
        body = json.dumps({"stream": stream, "temperature": 0}).encode()
        request = Asked(stream=stream)
        return self.cache.ask("t", Question(body, {}), request, "r", 0.0), body

    def ask(self, *addresses, stream=False, headers=()):
        """Ask as Envoy does after the picker said where; a context manager of the response."""
        miss, body = self.look(stream)
        self.number += 1
        clock = asyncio.get_running_loop().time()
        self.cache.expect(miss, str(self.number), [Destination(address, "r") for address in addresses], clock)
        sent = {"x-request-id": str(self.number), "content-type": "application/json", **dict(headers)}
        url = URL(f"{ENVOYS}{PATH}?a=%2F", encoded=True)
        return self.session.post(url, data=body, headers=sent)


@dataclass(frozen=True)
class Asked:
    path: str = PATH
    stream: bool = False
    wants_usage: bool = False
    deterministic: bool = True


@dataclass
class Question:
    body: bytes
    headers: dict


@pytest.fixture
async def world(tmp_path):
    async with AsyncExitStack() as stack:
        connector = aiohttp.UnixConnector(str(tmp_path / sockets.CACHE))
        timeout = aiohttp.ClientTimeout(total=10)
        session = await stack.enter_async_context(
            aiohttp.ClientSession(connector=connector, timeout=timeout, max_field_size=1 << 16)
        )
        yield await World(stack, session, tmp_path).start()


def nowhere():
    return f"{HOST}:{free_port(HOST)}"


async def test_a_whole_answer_passes_and_is_kept(world):
    engine, address = await world.engine("whole")
    async with world.ask(address, headers={"x-gateway-destination-endpoint": "1.1.1.1:1", "traceparent": "x"}) as got:
        assert (got.status, await got.json()) == (200, WHOLE)
        assert (got.headers["x-manta-cache"], got.headers["x-own"]) == ("miss", "1")
        assert "x-manta-tenant" not in got.headers
        assert got.headers["x-manta-prompt-tokens"] == "7", "Envoy counts them"
    path, headers, body = engine.seen[0]
    assert (path, headers["traceparent"]) == (f"{PATH}?a=%2F", "x")
    assert json.loads(body) == {"stream": False, "temperature": 0}
    assert "x-gateway-destination-endpoint" not in headers
    hit, _ = world.look()
    assert (json.loads(hit.body), hit.content_type) == (WHOLE, "application/json; charset=utf-8")


async def test_a_stream_passes_chunk_by_chunk_and_is_kept_as_it_was(world):
    engine, address = await world.engine("stream")
    async with world.ask(address, stream=True) as got:
        assert got.content_type == "text/event-stream"
        for _ in range(3):
            assert not isinstance(world.look(stream=True)[0], Hit)
            engine.permits.release()
            assert await got.content.readexactly(len(CHUNK)) == CHUNK
        assert await got.read() == DONE
    hit, _ = world.look(stream=True)
    assert hit.body == CHUNK * 3 + DONE


async def test_without_a_ticket_nothing_goes_on(world):
    engine, address = await world.engine("whole")
    headers = {"x-gateway-destination-endpoint": address, "x-request-id": "guess"}
    async with world.session.post(ENVOYS + PATH, data=b"{}", headers=headers) as got:
        assert (got.status, (await got.json())["error"]["code"]) == (503, "router_restarted")
        assert got.headers["retry-after"] == "1"
    async with world.ask(address) as got:
        assert got.status == 200
    headers["x-request-id"] = str(world.number)
    async with world.session.post(ENVOYS + PATH, data=b"{}", headers=headers) as got:
        assert got.status == 503, "a ticket is good for one request"
    assert len(engine.seen) == 1


async def test_headers_as_large_as_envoy_lets_pass_go_on(world):
    engine, address = await world.engine("whole")
    async with world.ask(address, headers={"x-big": "a" * 50_000}) as got:
        assert got.status == 200
        assert got.headers["x-big"] == "a" * 50_000
    assert len(engine.seen[0][1]["x-big"]) == 50_000
    assert world.failed == []


@pytest.mark.parametrize("mode", ["nowhere", "break before", "silent", "full"])
async def test_the_next_replica_is_tried_while_nothing_was_sent(world, mode):
    first = nowhere() if mode == "nowhere" else (await world.engine(mode))[1]
    _, second = await world.engine("whole")
    async with world.ask(first, second) as got:
        assert (got.status, await got.json()) == (200, WHOLE)
    assert world.failed == ([] if mode in {"full", "silent"} else [first]), "what is only slow is no failure"
    assert isinstance(world.look()[0], Hit)


@pytest.mark.parametrize(
    ("mode", "status", "code"),
    [
        ("nowhere", 503, "engine_unreachable"),
        ("break before", 502, "engine_disconnected"),
        ("silent", 504, "engine_timeout"),
        ("full", 503, None),
    ],
)
async def test_when_none_answers_the_client_learns_why(world, mode, status, code):
    address = nowhere() if mode == "nowhere" else (await world.engine(mode))[1]
    async with world.ask(address, address) as got:
        assert (got.status, (await got.json())["error"].get("code")) == (status, code)
    assert not isinstance(world.look()[0], Hit)
    assert world.cache.bytes == 0


async def test_an_answer_that_breaks_off_is_seen_to_and_not_kept(world):
    engine, address = await world.engine("break within")
    spare, other = await world.engine("whole")
    async with world.ask(address, other, stream=True) as got:
        for _ in range(3):
            engine.permits.release()
        with pytest.raises(aiohttp.ClientPayloadError):
            await got.read()
    assert not spare.seen, "never tried again after the first byte"
    assert not isinstance(world.look(stream=True)[0], Hit)
    assert world.cache.bytes == 0


async def test_a_client_that_leaves_ends_the_engines_work(world):
    engine, address = await world.engine("stream")
    async with world.ask(address, stream=True) as got:
        engine.permits.release()
        await got.content.readexactly(len(CHUNK))
        got.close()
    async with asyncio.timeout(3):
        await engine.left.wait()
    assert world.cache.bytes == 0


async def test_a_slow_client_slows_its_engine_down(world):
    engine, address = await world.engine("flood")
    async with world.ask(address, stream=True):
        before = -1
        while before != engine.sent:
            before = engine.sent
            await asyncio.sleep(0.3)
        assert engine.sent < 1 << 25, "the engine waits; the answer is not in our memory"
        assert world.cache.bytes < world.cache._store.max_bytes
