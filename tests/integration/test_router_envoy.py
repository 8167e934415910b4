"""A real Envoy and a real picker in front of fake engines: what clients see. The world is in router_fakes.py."""

import asyncio
import importlib.util
import json
from contextlib import AsyncExitStack, asynccontextmanager
from io import BytesIO
from pathlib import Path

import aiohttp
import psutil
import pytest
import pytest_asyncio

# pytest's importlib mode puts no test folder on sys.path.
_spec = importlib.util.spec_from_file_location("router_fakes", Path(__file__).with_name("router_fakes.py"))
fakes = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(fakes)
MAX_BODY, NET, POD, URL = fakes.MAX_BODY, fakes.NET, fakes.POD, fakes.URL
HEALTH = f"http://{POD}:9901"

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory):
    """(router, API server, session, engines by name), one for all tests; `fresh` cleans it."""
    api = fakes.FakeApiServer()
    names = enumerate(("a", "b", "broken"), start=10)
    engines = {name: fakes.FakeEngine(name, f"{NET}.{number}") for number, name in names}
    async with AsyncExitStack() as stack:
        for server in (api, *engines.values()):
            await server.start()
            stack.push_async_callback(server.stop)
        session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20))
        await stack.enter_async_context(session)
        router = fakes.Router(tmp_path_factory.mktemp("router"), session, api.ca)
        await router.start()
        stack.push_async_callback(router.stop)
        yield router, api, session, engines


@pytest_asyncio.fixture(loop_scope="module")
async def fresh(world):
    """The world with the replicas a and b, ready and idle."""
    router, api, _, engines = world
    api.clear()
    await router.usable(0)
    for name in ("a", "b"):
        engines[name].permits, engines[name].hits = asyncio.Semaphore(0), []
        api.set(name, engines[name].address)
    await router.usable(2)
    return world


async def ask(session, status=200, path="/v1/chat/completions", headers=None, **body):
    """POST; the JSON of the answer, whose status must be `status`."""
    content = BytesIO(json.dumps({"model": "t", **body}).encode())  # aiohttp warns of large bytes
    async with session.post(URL + path, data=content, headers=headers) as response:
        text = await response.text()
        assert response.status == status, text
        assert response.content_type == "application/json"
        return json.loads(text)


@asynccontextmanager
async def stream(session):
    """An open stream and the replica that serves it."""
    async with session.post(f"{URL}/v1/completions", json={"model": "t", "stream": True}) as response:
        assert response.status == 200
        yield response, response.headers["x-manta-replica"]


async def test_requests_go_where_the_fewest_run_and_completions_count_at_once(fresh):
    router, _, session, engines = fresh
    async with stream(session) as one, stream(session) as two:
        assert {one[1], two[1]} == {"a", "b"}
        idle, busy = one[1], two[1]
        engines[idle].permits.release()
        engines[idle].permits.release()
        engines[idle].permits.release()
        await one[0].read()
        for _ in range(3):
            await router.in_flight(idle, 0)
            assert (await ask(session))["replica"] == idle
        for _ in range(3):
            engines[busy].permits.release()
        assert (await two[0].read()).count(b"data:") == 3


async def test_idle_replicas_take_turns(fresh):
    router, _, session, engines = fresh
    for _ in range(10):
        await router.in_flight((await ask(session))["replica"], 0)
    assert (len(engines["a"].hits), len(engines["b"].hits)) == (5, 5)


async def test_a_stream_passes_chunk_by_chunk(fresh):
    _, _, session, engines = fresh
    async with stream(session) as (response, replica):
        for number in range(3):
            engines[replica].permits.release()
            assert await response.content.readline() == f"data: {replica} {number}\n".encode()
            await response.content.readline()


async def test_a_client_that_leaves_frees_its_replica(fresh):
    router, _, session, engines = fresh
    async with stream(session) as (response, replica):
        response.close()
    await router.in_flight(replica, 0)
    await fakes.until(lambda: asyncio.sleep(0, engines[replica].running == 0))


async def test_a_replica_that_dies_in_mid_stream_breaks_only_its_stream(fresh):
    router, api, session, engines = fresh
    api.clear()
    api.set("broken", engines["broken"].address)
    await router.usable(1)
    async with stream(session) as (response, _):
        engines["broken"].permits.release()
        with pytest.raises(aiohttp.ClientPayloadError):
            await response.read()
    api.set("a", engines["a"].address)
    await router.usable(2)
    assert (await ask(session))["replica"] == "a"


async def test_a_replica_that_refuses_connections_loses_nothing_and_is_left_out(fresh):
    router, api, session, _ = fresh
    api.set("c", f"{NET}.99")
    await router.usable(3)
    attempts = []
    for _ in range(9):
        async with session.post(f"{URL}/v1/completions", json={"model": "t"}) as response:
            assert response.status == 200, await response.text()
            attempts.append(await router.attempts(response.headers["x-request-id"]))
        for replica in "abc":
            await router.in_flight(replica, 0)
    assert sorted(attempts) in ([1] * 8 + [2], [1] * 9)  # the picker itself may notice first


@pytest.mark.parametrize("change", [{"ready": False}, {"deleting": True}], ids=["unready", "deleting"])
async def test_a_replica_that_leaves_gets_nothing_more(fresh, change):
    router, api, session, engines = fresh
    api.set("a", engines["a"].address, **change)
    await router.usable(1)
    assert {(await ask(session))["replica"] for _ in range(5)} == {"b"}


async def test_no_replica_is_a_503_that_says_why(fresh):
    router, api, session, engines = fresh
    for name in ("a", "b"):
        api.set(name, engines[name].address, ready=False)
    await router.usable(0)
    async with session.post(f"{URL}/v1/completions", json={"model": "t"}) as response:
        assert (response.status, response.headers["retry-after"]) == (503, "2")
        error = (await response.json())["error"]
    assert error["code"] == "no_ready_replica"
    assert "0 of 2 replicas ready" in error["message"]


async def test_clients_never_choose_the_destination(fresh):
    _, _, session, engines = fresh
    engines["broken"].hits = []
    evil = f"{engines['broken'].address}:8000"
    names = ("x-gateway-destination-endpoint", "X-Gateway-Destination-Endpoint", "x-envoy-original-dst-host")
    for name in names:
        assert (await ask(session, headers={name: evil}))["replica"] in ("a", "b")
    twice = [(names[0], evil), (names[0], evil)]
    async with session.post(f"{URL}/v1/completions", json={"model": "t"}, headers=twice) as response:
        assert response.headers["x-manta-replica"] in ("a", "b")
    await ask(session, 404, "/healthz/x", headers={names[0]: evil})
    assert engines["broken"].hits == []


@pytest.mark.parametrize(
    "path",
    [
        "/invocations", "/metrics", "/tokenize", "/health", "/v1", "/v1/load_lora_adapter", "/v1/unload_lora_adapter",
        "/v1/models/../../invocations", "/v1/%2e%2e/invocations", "/v1/load%5Flora_adapter",
        "/pick/v1/models", "//metrics",
    ],
)  # fmt: skip
async def test_only_the_clients_api_is_reachable(fresh, path):
    _, _, _, engines = fresh
    reader, writer = await asyncio.open_connection(POD, 8000)
    writer.write(f"POST {path} HTTP/1.1\r\nhost: t\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{{}}".encode())
    head, _, body = (await reader.readuntil(b"}}")).partition(b"\r\n\r\n")
    writer.close()
    assert b" 404 " in head.splitlines()[0]
    assert b"application/json" in head
    assert b'"code": "not_found"' in body
    assert engines["a"].hits == engines["b"].hits == []


async def test_models_and_bodies_are_checked(fresh):
    _, _, session, _ = fresh
    async with session.get(f"{URL}/v1/models") as response:
        assert response.status == 200
    assert (await ask(session, model="alias"))["replica"]
    assert "t, alias" in (await ask(session, 404, model="gpt"))["error"]["message"]
    assert (await ask(session, 400, model=3))["error"]["code"] == "invalid_value"
    async with session.post(f"{URL}/v1/completions", data=b'{"model": ') as response:
        assert (response.status, (await response.json())["error"]["code"]) == (400, "invalid_json")


async def test_large_bodies_pass_up_to_the_bound(fresh):
    _, _, session, _ = fresh
    assert (await ask(session, prompt="x" * (MAX_BODY - 100)))["replica"]
    assert (await ask(session, 413, prompt="x" * MAX_BODY))["error"]["code"] == "request_too_large"


async def test_the_last_known_replicas_stay_while_the_api_server_is_away(fresh):
    router, api, session, _ = fresh
    await api.stop()
    assert (await ask(session))["replica"]
    api.watchers.clear()
    api.drop("a")
    await api.start()
    await router.usable(1)
    assert (await ask(session))["replica"] == "b"
    api.gone, lists = True, api.lists
    for queue in api.watchers:
        queue.put_nowait(None)  # the watch ends; the next one is told 410 and lists again
    await fakes.until(lambda: asyncio.sleep(0, api.lists > lists))


async def test_envoys_admin_interface_is_nobodys_but_the_launchers(fresh):
    router, _, session, _ = fresh
    assert await router.status("/healthz", 200, HEALTH)
    for path in ("/quitquitquit", "/healthcheck/fail", "/config_dump", "/ready"):
        async with session.post(HEALTH + path) as response:
            assert response.status == 404
    (admin,) = router.folder.glob("envoy-*/admin")
    assert (admin.is_socket(), admin.stat().st_mode & 0o777) == (True, 0o600)
    assert (await ask(session))["replica"]


async def test_an_envoy_that_hangs_is_not_alive(fresh):
    router, _, _, _ = fresh
    envoy = psutil.Process(router.envoy.pid).children()[0]
    envoy.suspend()
    try:
        await fakes.until(lambda: router.status("/healthz", 503, HEALTH))
    finally:
        envoy.resume()
    await fakes.until(lambda: router.status("/healthz", 200, HEALTH))


async def test_requests_outlive_a_picker_that_is_killed_even_held_ones(fresh):
    router, api, session, engines = fresh
    for name in ("a", "b"):
        api.set(name, engines[name].address, ready=False)
    await router.usable(0)
    held = [asyncio.create_task(ask(session)) for _ in range(3)]
    await asyncio.sleep(0.3)
    router.picker.kill()
    await router.picker.wait()
    held.append(asyncio.create_task(ask(session)))
    router.picker = await router.run("picker")
    await fakes.until(lambda: router.status("/readyz", 200, f"http://{POD}:9002"))
    api.set("a", engines["a"].address)
    assert [said["replica"] for said in await asyncio.gather(*held)] == ["a"] * 4


async def test_a_picker_that_restarts_while_the_api_server_is_away_goes_on(fresh):
    router, api, session, _ = fresh
    await api.stop()
    router.picker.kill()
    await router.picker.wait()
    router.picker = await router.run("picker")
    assert {(await ask(session))["replica"] for _ in range(20)} == {"a", "b"}
    assert await router.status("/readyz", 200, f"http://{POD}:9002")
    await api.start()


async def test_sigterm_ends_streams_first(fresh):
    """Last: it ends the router. Both containers get the signal at once, as from a kubelet."""
    router, _, session, engines = fresh
    async with stream(session) as (response, replica):
        router.envoy.terminate()
        router.picker.terminate()
        await fakes.until(lambda: router.status("/healthz", 503))
        assert (await ask(session))["replica"]
        await asyncio.sleep(3.5)  # longer than the router looks away
        assert router.envoy.returncode is None
        assert await router.status("/healthz", 200, HEALTH), "a draining Envoy is alive"
        for _ in range(3):
            engines[replica].permits.release()
        assert (await response.read()).count(b"data:") == 3
    async with asyncio.timeout(60):
        assert (await router.envoy.wait(), await router.picker.wait()) == (0, 0)
