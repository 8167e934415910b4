"""Engines whose metrics are dead, wrong, slow or lies, beside one that is sound: what a real picker tells the operator.

What it tells is held to the operator's own reading of it. The world is in router_fakes.py.
"""

import asyncio
import importlib.util
import time
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import aiohttp
import psutil
import pytest
import pytest_asyncio
from aiohttp import web

from manta_operator.scaling.reading import read

# pytest's importlib mode puts no test folder on sys.path.
_spec = importlib.util.spec_from_file_location("router_fakes", Path(__file__).with_name("router_fakes.py"))
fakes = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(fakes)

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="module")]
SOUND = """vllm:num_requests_running{m="t"} %s
vllm:num_requests_waiting{m="t"} 1.0
vllm:kv_cache_usage_perc{m="t"} 0.5
vllm:prompt_tokens_total{m="t"} 1000.0
vllm:generation_tokens_total{m="t"} 500.0
"""
LOOKS_SECONDS = 12
SOON_SECONDS = 2.0
"""The operator waits no longer for an answer."""
MOST_MEMORY = 400 << 20


async def _text(request, body, status=200):
    return web.Response(text=body, status=status)


async def _large(request):
    response = web.StreamResponse()
    await response.prepare(request)
    for _ in range(200):
        await response.write(b"# " + b"x" * (1 << 20) + b"\n")
    return response


async def _endless(request):
    response = web.StreamResponse()
    await response.prepare(request)
    while True:
        await response.write(b"x")
        await asyncio.sleep(0.1)


async def _slow(request):
    await asyncio.sleep(30)
    return web.Response(text=SOUND % 1)


async def _dead(request):
    request.transport.abort()
    return web.Response()


async def _backwards(request):
    request.app["step"] = request.app.get("step", 10**6) - 1000
    return web.Response(text=(SOUND % 1).replace("1000.0", str(request.app["step"])))


LIES = {
    "dead": _dead,
    "error": lambda request: _text(request, "no", 500),
    "html": lambda request: _text(request, "<html>hello</html>"),
    "empty": lambda request: _text(request, ""),
    "nan": lambda request: _text(request, SOUND % "NaN"),
    "infinite": lambda request: _text(request, SOUND % "+Inf"),
    "negative": lambda request: _text(request, SOUND % "-4.0"),
    "huge": lambda request: _text(request, SOUND % "1e+18"),
    "words": lambda request: _text(request, SOUND % "many"),
    "large": _large,
    "endless": _endless,
    "slow": _slow,
    "backwards": _backwards,
}
UNBELIEVABLE = set(LIES) - {"backwards"}


class Liar(fakes.FakeEngine):
    """An engine that serves, and says of itself what its `lie` says; None: the truth."""

    def __init__(self, name, address):
        super().__init__(name, address)
        self.lie = None

    async def metrics(self, request):
        with suppress(ConnectionError):
            return await self.lie(request) if self.lie else web.Response(text=SOUND % 2)
        return web.Response()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory):
    """(engines by name, session, the picker's process); every engine is sound."""
    api = fakes.FakeApiServer()
    names = enumerate(("sound", *LIES), start=10)
    engines = {name: Liar(name, f"{fakes.NET}.{number}") for number, name in names}
    async with AsyncExitStack() as stack:
        for server in (api, *engines.values()):
            await server.start()
            stack.push_async_callback(server.stop)
        session = await stack.enter_async_context(aiohttp.ClientSession())
        router = fakes.Router(tmp_path_factory.mktemp("router"), session, api.ca)
        await router.start()
        stack.push_async_callback(router.stop)
        for name, engine in engines.items():
            api.set(f"{name}-0", engine.address)
        await router.usable(len(engines))
        yield engines, session, router.picker


async def demand(session):
    """What the picker tells, as the operator reads it, and how long that took (s)."""
    began = time.monotonic()
    async with session.get(f"http://{fakes.POD}:9002/demand", timeout=aiohttp.ClientTimeout(total=20)) as response:
        found = read(await response.json())
    assert found is not None
    return found, time.monotonic() - began


async def told(session, wanted):
    """Wait until engines for which `wanted` holds are told of."""

    last = set()

    async def check():
        found, _ = await demand(session)
        last.clear()
        last.update(found.engines)
        return wanted(last)

    try:
        await fakes.until(check)
    except TimeoutError as error:
        raise AssertionError(f"told of {sorted(last)}") from error


@pytest.mark.timeout(180)
async def test_an_engine_that_lies_is_missing_and_the_others_are_told(world):
    engines, session, picker = world
    await told(session, lambda names: names == set(engines))
    for name, lie in LIES.items():
        engines[name].lie = lie
    await told(session, lambda names: not names & UNBELIEVABLE)
    slowest, deadline = 0.0, time.monotonic() + LOOKS_SECONDS
    while time.monotonic() < deadline:
        found, took = await demand(session)
        slowest = max(slowest, took)
        assert not set(found.engines) & UNBELIEVABLE
        assert found.engines["sound"].signals.waiting == 1
        await asyncio.sleep(0.5)
    assert slowest < SOON_SECONDS
    assert psutil.Process(picker.pid).memory_info().rss < MOST_MEMORY
    for engine in engines.values():
        engine.lie = None
    await told(session, lambda names: names == set(engines))
