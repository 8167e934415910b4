"""Where Envoy sends a request and when it tries again: a real Envoy, a scripted picker, scripted engines."""

import asyncio
import importlib.util
import json
from io import BytesIO
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio

from manta_runtime.router import sockets

# pytest's importlib mode puts no test folder on sys.path.
_spec = importlib.util.spec_from_file_location("envoy_fakes", Path(__file__).with_name("envoy_fakes.py"))
fakes = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(fakes)
URL, answer = fakes.URL, fakes.answer

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="module")]

CACHE = {"maxBytes": 1 << 20}
TIMEOUTS = {"firstByteSeconds": 1, "requestSeconds": 4}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(tmp_path_factory):
    world = fakes.World(tmp_path_factory.mktemp("envoy"), cache=CACHE, timeouts=TIMEOUTS, hold={"seconds": 0})
    await world.start()
    yield world
    await world.stop()


@pytest_asyncio.fixture(loop_scope="module")
async def world(shared):
    shared.reset()
    yield shared
    shared.file.write(shared.known("abc"))


async def ask(world, status=200, body=None, headers=None, path="/v1/completions"):
    """POST; (JSON of the answer, its headers)."""
    data = json.dumps(body or {"model": "t"})
    async with world.session.post(URL + path, data=BytesIO(data.encode()), headers=headers) as response:
        text = await response.text()
        assert response.status == status, text
        return json.loads(text), response.headers


async def unavailable(request, writer):
    return answer(b'{"error": {"message": "queue full"}}', 503)


async def dies(request, writer):
    writer.transport.abort()


async def hangs(request, writer):
    await asyncio.sleep(60)


async def test_the_first_of_the_list_serves_and_the_client_learns_its_name(world):
    world.to("bac")
    said, headers = await ask(world)
    assert (said["replica"], headers["x-manta-replica"]) == ("b", "b")


@pytest.mark.parametrize("trouble", [unavailable, dies], ids=["503", "kill -9"])
async def test_the_list_is_the_order_of_tries(world, trouble):
    world.to("bca")
    world.engines["b"].script = world.engines["c"].script = trouble
    said, headers = await ask(world)
    assert said["replica"] == "a"
    assert [len(world.engines[name].requests) for name in "bca"] == [1, 1, 1]
    end = await world.ends.one(headers["x-request-id"])
    assert (end["attempts"], end["upstream"], end["status"]) == (3, world.engines["a"].address, 200)


async def test_a_replica_that_refuses_connections_is_passed_over(world):
    await world.engines["b"].stop()
    world.to("ba")
    try:
        assert (await ask(world))[0]["replica"] == "a"
    finally:
        await world.engines["b"].start()


async def test_when_every_try_fails_the_last_answer_is_the_clients(world):
    for engine in world.engines.values():
        engine.script = unavailable
    said, _ = await ask(world, 503)
    assert said["error"]["message"] == "queue full"
    assert sum(len(engine.requests) for engine in world.engines.values()) == 3


async def test_tries_beyond_the_list_go_where_none_has_been(world):
    async def streams(request, writer):
        await fakes.write(writer, b"data: 1\n\n", end=False)
        await asyncio.sleep(60)

    a, b, c = world.engines.values()
    for _ in range(5):  # streams may take 4 s
        world.to("c")
        c.script, a.script, b.script = streams, dies, dies
        busy = [asyncio.ensure_future(ask(world)) for _ in range(2)]  # so that Envoy prefers those that are dead
        await fakes.until(lambda: c.open == 2)
        world.to("b")
        c.script = fakes.says("c")
        for _ in range(10):
            assert (await ask(world))[0]["replica"] == "c"
        assert c.open == 2
        for each in busy:
            each.cancel()
        await fakes.until(lambda: c.open == 0)


async def test_a_large_body_is_sent_again_whole(world):
    world.to("ba")
    world.engines["b"].script = dies
    body = {"model": "t", "prompt": "x" * (fakes.MAX_BODY - 100)}
    assert (await ask(world, body=body))[0]["replica"] == "a"
    assert json.loads(world.engines["a"].requests[0].body) == body


async def test_nothing_is_tried_again_after_the_first_byte(world):
    async def breaks_off(request, writer):
        await fakes.write(writer, b"data: 1\n\n", pause=0.05, end=False)
        writer.transport.abort()

    world.to("ba")
    world.engines["b"].script = breaks_off
    with pytest.raises(aiohttp.ClientPayloadError):
        await ask(world)
    assert world.engines["a"].requests == []


async def test_a_replica_that_envoy_does_not_know_yet_is_replaced(world):
    world.file.write(world.known("a"))
    await fakes.until(lambda: membership(world, 1))
    world.to("ca")
    assert (await ask(world))[0]["replica"] == "a"
    world.to("c")
    assert (await ask(world))[0]["replica"] == "a"


async def membership(world, count):
    return await world.stat("cluster.engines.membership_total") == count


async def test_draining_replicas_are_reached_when_named_only(world):
    world.file.write(world.known("abc", draining="bc"))

    async def healthy():
        return await world.stat("cluster.engines.membership_healthy") == 1

    await fakes.until(healthy)
    world.to("b")
    assert (await ask(world))[0]["replica"] == "b"
    world.say = answer()  # the picker names nobody
    assert {(await ask(world))[0]["replica"] for _ in range(8)} == {"a"}


async def test_an_engine_without_a_first_byte_in_time_is_a_504(world):
    for engine in world.engines.values():
        engine.script = hangs
    said, headers = await ask(world, 504)
    assert said["error"]["code"] == "engine_timeout"
    assert (await world.ends.one(headers["x-request-id"]))["attempts"] == 3


async def test_a_stream_has_until_the_end_of_the_whole_time(world):
    async def slow(request, writer):
        await fakes.write(writer, *[b"data: 1\n\n"] * 60, pause=0.1)

    world.engines["a"].script = slow
    began = asyncio.get_running_loop().time()
    with pytest.raises(aiohttp.ClientPayloadError):
        await ask(world)
    assert 3.5 < asyncio.get_running_loop().time() - began < 20
    await fakes.until(lambda: world.engines["a"].left == 1)


async def test_what_only_the_router_may_know_stays_there(world):
    world.to("a", x_manta_tenant="acme", x_manta_reason="least-load", x_manta_explain='{"why": 1}')
    sent = {"authorization": "Bearer s", "x-api-key": "s", "x-manta-explain": "1", "x-manta-tenant": "evil"}
    sent |= {"x-manta-explainer": "1", "x-gateway-destination-endpoint": "1.1.1.1:1", "X-Manta-Exp": "1"}
    _, headers = await ask(world, headers=sent)
    got = world.engines["a"].requests[0].headers
    assert not [name for name in got if name.startswith(("x-manta", "x-gateway", "authorization", "x-api-key"))]
    assert got["x-request-id"] == headers["x-request-id"]
    assert headers["x-manta-explain"] == '{"why": 1}'
    assert not {"x-manta-tenant", "x-manta-reason", "x-gateway-destination-endpoint"} & set(headers)
    asked = world.picker.requests[0].headers
    assert (asked["authorization"], asked["x-api-key"], asked["x-manta-explain"]) == ("Bearer s", "s", "1")
    assert not {"x-manta-tenant", "x-manta-explainer", "x-manta-exp", "x-gateway-destination-endpoint"} & set(asked)
    await fakes.until(lambda: world.logged(headers["x-request-id"]))
    line = world.logged(headers["x-request-id"])
    assert (line["tenant"], line["replica"], line["reason"]) == ("acme", "a", "least-load")


async def test_a_request_for_the_cache_goes_there_with_its_destination(world):
    cache = fakes.AtSocket(world.run_dir, sockets.CACHE, fakes.says("cache"))
    await cache.start()
    world.to("ab", x_manta_way="cache")
    try:
        said, headers = await ask(world, headers={"authorization": "Bearer s"})
    finally:
        await cache.stop()
    assert (said["replica"], headers["x-manta-replica"]) == ("cache", "a")
    got = cache.requests[0].headers
    assert got["x-gateway-destination-endpoint"].split(",")[0] == world.engines["a"].address
    assert not {"authorization", "x-manta-way"} & set(got)


@pytest.mark.parametrize("kind", ["application/json", "text/event-stream"])
async def test_the_picker_answers_by_itself(world, kind):
    body = b"data: x\n\n" * 120_000
    world.say = answer(body, 482, kind, x_manta_cache="hit", age=3, cache_control="private", x_manta_tenant="acme")
    async with world.session.post(URL + "/v1/completions", data=b"{}") as response:
        assert (response.status, response.headers["content-type"]) == (200, kind)
        names = ("x-manta-cache", "age", "cache-control")
        assert [response.headers[name] for name in names] == ["hit", "3", "private"]
        assert await response.read() == body
        assert "x-manta-tenant" not in response.headers


@pytest.mark.parametrize(
    ("said", "meant"), [(480, 503), (481, 400), (401, 401), (403, 403), (404, 404), (413, 413), (429, 429)]
)
async def test_refusals_keep_their_body(world, said, meant):
    world.say = answer(b'{"error": {"code": "mine"}}', said, retry_after=7)
    answered, headers = await ask(world, meant)
    assert answered == {"error": {"code": "mine"}}
    assert (headers["retry-after"], headers["content-type"]) == ("7", "application/json")


async def test_a_client_that_leaves_while_its_request_is_held_is_heard_of(world):
    world.say = hangs
    asked = asyncio.create_task(ask(world))
    await fakes.until(lambda: world.picker.open == 1)
    asked.cancel()
    await fakes.until(lambda: world.picker.left == 1)


async def test_a_client_that_leaves_stops_its_engine(world):
    world.engines["a"].script = hangs
    asked = asyncio.create_task(ask(world))
    await fakes.until(lambda: world.engines["a"].open == 1)
    asked.cancel()
    await fakes.until(lambda: world.engines["a"].left == 1)


async def test_a_held_request_waits_for_a_late_answer(world):
    choose = world.say

    async def late(request, writer):
        await asyncio.sleep(3)
        return choose

    world.say = late
    assert (await ask(world))[0]["replica"] == "a"
    assert len(world.picker.requests) == 1


@pytest.mark.parametrize("size", [10, fakes.MAX_BODY - 100], ids=["small", "large"])
async def test_a_picker_that_restarts_is_asked_again(world, size):
    """Of large bodies one in ten is asked about again in vain (seen with Envoy 1.39): Envoy places that by itself."""
    world.say, choose = hangs, world.say
    asked = asyncio.create_task(ask(world, body={"model": "t", "prompt": "x" * size}))
    await fakes.until(lambda: world.picker.open == 1)
    await world.picker.stop()
    await asyncio.sleep(0.3)
    small = size == 10
    assert not (small and asked.done())
    world.say = choose
    await world.picker.start()
    assert (await asked)[0]["replica"] in ("a" if small else "abc")


async def test_without_a_picker_envoy_balances_by_itself(world):
    await world.picker.stop()
    try:
        answers = await asyncio.gather(*(ask(world) for _ in range(20)))
    finally:
        await world.picker.start()
    assert {said["replica"] for said, _ in answers} == set("abc")
