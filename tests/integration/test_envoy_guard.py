"""What Envoy keeps from others, and what it says by itself: memory, keys, pages of browsers, upgrades, request ids."""

import asyncio
import importlib.util
import json
from functools import partial
from pathlib import Path

import pytest
import pytest_asyncio

# pytest's importlib mode puts no test folder on sys.path.
_spec = importlib.util.spec_from_file_location("envoy_fakes", Path(__file__).with_name("envoy_fakes.py"))
fakes = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(fakes)
CHAT = fakes.URL + "/v1/chat/completions"

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="module")]

HEAP, BODY = 96 << 20, 8 << 20
KEY = "authorization: Bearer k\r\n"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fakes.bootstrap, "build", partial(fakes.bootstrap.build, heap_bytes=HEAP))
        world = fakes.World(tmp_path_factory.mktemp("envoy"), auth=True, maxBodyBytes=BODY, retries=1)
        await world.start()
    yield world
    await world.stop()


@pytest_asyncio.fixture(loop_scope="module")
async def world(shared):
    shared.reset()
    return shared


async def opened(head, body=b""):
    """A connection on which a request has been begun."""
    reader, writer = await asyncio.open_connection(fakes.POD, 8000)
    writer.write(head.replace("\n", "\r\n").encode() + body)
    return reader, writer


def post(key="", length=BODY):
    return f"POST /v1/chat/completions HTTP/1.1\nhost: x\n{key.strip()}\n".replace("\n\n", "\n") + (
        f"content-length: {length}\n\n"
    )


async def answered(head, body=b""):
    """Status and body of the answer to what may be half a request."""
    reader, writer = await opened(head, body)
    async with asyncio.timeout(30):
        first = (await reader.readuntil(b"\r\n\r\n")).decode()
        size = next((int(line[16:]) for line in first.split("\r\n") if line.startswith("content-length: ")), 0)
        said = await reader.readexactly(size)
    writer.close()
    return int(first.split()[1]), first, said


async def ending(reader):
    """The status of its answer; whoever still sends may only see the reset."""
    try:
        return (await asyncio.wait_for(reader.readuntil(b"\r\n"), 30)).split()[1].decode()
    except ConnectionError:
        return "reset"


async def test_without_a_key_nobody_waits_for_the_body(world):
    status, head, body = await answered(post(), b"{")
    assert (status, json.loads(body)["error"]["code"]) == (401, "invalid_api_key")
    assert "www-authenticate: Bearer\r\n" in head
    assert not world.picker.requests
    async with world.session.post(CHAT, json={"model": "t"}) as response:
        assert response.status == 200


async def test_bodies_that_grow_do_not_take_more_memory_than_there_is(world):
    release = asyncio.Event()

    async def slow(request, writer):
        await release.wait()
        return fakes.answer(b"{}")

    world.to("a")
    world.engines["a"].script = slow
    waiting = asyncio.create_task(world.session.post(CHAT, json={"model": "t"}))
    await fakes.until(lambda: world.engines["a"].requests)
    half = [await opened(post(KEY), b"{") for _ in range(24)]
    fullest = 0
    for _ in range(48):
        for _, writer in half:
            if not writer.is_closing():
                writer.write(b"x" * (BODY // 64))
        await asyncio.sleep(0.1)
        fullest = max(fullest, await world.stat("overload.envoy.resource_monitors.fixed_heap.pressure"))
    assert 80 < fullest < 130
    ended = await asyncio.gather(*(ending(reader) for reader, _ in half))
    assert set(ended) <= {"500", "reset"}
    release.set()
    assert (await waiting).status == 200
    for _, writer in half:
        writer.close()

    async def serves():
        async with world.session.post(CHAT, json={"model": "t"}) as response:
            return response.status == 200

    await fakes.until(serves)


async def test_pages_of_browsers_may_ask(world):
    headers = {"origin": "http://page", "access-control-request-method": "POST"}
    async with world.session.options(CHAT, headers=headers) as response:
        assert response.status == 204
        assert response.headers["access-control-allow-headers"] == "authorization, *"
        assert response.headers["access-control-allow-origin"] == "*"
    async with world.session.options(CHAT) as response:
        assert response.status == 405
    assert not world.picker.requests


async def test_an_upgrade_is_refused_in_words(world):
    head = f"GET /v1/responses HTTP/1.1\nhost: x\n{KEY.strip()}\nconnection: upgrade\nupgrade: websocket\n\n"
    status, _, body = await answered(head)
    assert (status, json.loads(body)["error"]["code"]) == (403, "no_upgrade")


async def test_clients_do_not_choose_the_request_id(world):
    async with world.session.post(CHAT, json={"model": "t"}, headers={"x-request-id": "mine"}) as response:
        assert "mine" not in response.headers.getall("x-request-id")
    assert world.picker.requests[0].headers["x-request-id"] == response.headers["x-request-id"]


async def test_an_engine_that_breaks_off_is_called_so(world):
    async def dies(request, writer):
        writer.transport.abort()

    for engine in world.engines.values():
        engine.script = dies
    async with world.session.post(CHAT, json={"model": "t"}) as response:
        assert (response.status, (await response.json())["error"]["code"]) == (502, "engine_disconnected")
    assert sum(len(engine.requests) for engine in world.engines.values()) == 2


@pytest.mark.parametrize("status", [None, 503])
async def test_who_alone_can_serve_it_is_asked_again_and_nobody_else(world, status):
    async def fails(request, writer):
        if status is None:
            writer.transport.abort()
        return fakes.answer(b"{}", status=status)

    world.engines["a"].script = fails
    world.to("a" * 31)
    async with world.session.post(CHAT, json={"model": "adapter"}) as response:
        assert response.status in (502, 503)
    assert [len(engine.requests) for engine in world.engines.values()] == [2, 0, 0]
