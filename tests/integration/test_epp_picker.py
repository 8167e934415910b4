"""The real picker in mode inference-pool behind a gateway's Envoy: pods watched, requests held, streams drained."""

import asyncio
import importlib.util
import json
import signal
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import aiohttp
import grpc
import pytest
import pytest_asyncio
import yaml
from grpc_health.v1 import health_pb2


def _load(name):
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


fakes, gateway = _load("router_fakes"), _load("epp_gateway")
NET, POD = fakes.NET, fakes.POD
GATEWAY = f"http://{POD}:8081"
MODES = ("FULL_DUPLEX_STREAMED", "FULL_DUPLEX_STREAMED")

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="module")]


class Pool(fakes.Router):
    """The picker alone, as the operator runs it in mode inference-pool."""

    def __init__(self, folder, session, ca, pod=POD, **more):
        super().__init__(folder, session, ca, pod, **more)
        file = folder / "router.yaml"
        mode = {"mode": "inference-pool", "hold": {"seconds": 3}, "drainSeconds": 8}
        file.write_text(yaml.safe_dump({**yaml.safe_load(file.read_text()), **mode}))

    async def start(self):
        self.picker = await self.run("picker")
        await fakes.until(lambda: self.status("/readyz", 200, f"http://{self.pod}:9002"))

    async def stop(self):
        if self.picker.returncode is None:
            self.picker.kill()
        await self.picker.wait()


async def serving(stack, pool, known):
    """Run the picker, and before it a gateway that knows these engines; None: that goes where it is told."""
    await pool.start()
    stack.push_async_callback(pool.stop)
    config = gateway.configuration(8081, pool.pod, known, (pool.pod, 9005), MODES)
    envoy = await gateway.start(pool.folder, "gateway", config)
    stack.push_async_callback(envoy.wait)
    stack.callback(envoy.terminate)
    await fakes.until(lambda: pool.status("/v1/models", 200, f"http://{pool.pod}:8081"))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pool")
    api = fakes.FakeApiServer()
    engines = {name: fakes.FakeEngine(name, f"{NET}.{number}") for name, number in (("a", 10), ("b", 11))}
    async with AsyncExitStack() as stack:
        for server in (api, *engines.values()):
            await server.start()
            stack.push_async_callback(server.stop)
        session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20))
        await stack.enter_async_context(session)
        pool = Pool(folder, session, api.ca)
        await serving(stack, pool, [e.address for e in engines.values()])
        yield pool, api, session, engines


@pytest_asyncio.fixture(loop_scope="module")
async def fresh(world):
    """The world with the replicas a and b, ready and idle."""
    pool, api, _, engines = world
    for name, engine in engines.items():
        engine.permits, engine.hits = asyncio.Semaphore(0), []
        api.set(name, engine.address)
    await pool.usable(2)
    return world


async def ask(session, status=200, url=GATEWAY, **body):
    async with session.post(f"{url}/v1/completions", json={"model": "t", **body}) as response:
        text = await response.text()
        assert response.status == status, text
        return json.loads(text), response.headers


@asynccontextmanager
async def stream(session):
    async with session.post(f"{GATEWAY}/v1/completions", json={"model": "t", "stream": True}) as response:
        assert response.status == 200
        yield response, response.headers["x-manta-replica"]


async def test_requests_spread_and_are_counted_exactly(fresh):
    pool, _, session, _ = fresh
    async with stream(session) as one, stream(session) as two:
        assert {one[1], two[1]} == {"a", "b"}
        await pool.in_flight("a", 1)
        await pool.in_flight("b", 1)
        for response, _ in (one, two):
            response.close()
    await pool.in_flight("a", 0)
    await pool.in_flight("b", 0)
    body, headers = await ask(session)
    assert body["replica"] == headers["x-manta-replica"]


@pytest.mark.parametrize(("retries", "statuses"), [(0, {200}), (1, {503})])
async def test_a_gateway_that_goes_where_it_is_told_takes_one_place_alone(fresh, tmp_path, retries, statuses):
    """As Envoy AI Gateway: `retries: 0` is for it."""
    _, api, session, _ = fresh
    pool = Pool(tmp_path, session, api.ca, f"{NET}.3", retries=retries)
    async with AsyncExitStack() as stack:
        await serving(stack, pool, None)
        await pool.usable(2)
        answers = [await session.post(f"http://{pool.pod}:8081/v1/completions", json={"model": "t"}) for _ in range(3)]
        assert {answer.status for answer in answers} == statuses


async def test_a_replica_that_has_died_is_passed_over(fresh):
    pool, _, session, engines = fresh
    await engines["a"].runner.cleanup()
    try:
        assert {(await ask(session))[0]["replica"] for _ in range(4)} == {"b"}
    finally:
        await engines["a"].start()
    await pool.usable(2)


async def test_the_picker_answers_what_needs_no_engine(fresh):
    _, _, session, engines = fresh
    async with session.get(f"{GATEWAY}/v1/models") as response:
        assert [model["id"] for model in (await response.json())["data"]][:2] == ["t", "alias"]
    assert (await ask(session, 404, model="gpt"))[0]["error"]["code"] == "model_not_found"
    async with session.post(f"{GATEWAY}/v1/completions", data=b"{") as response:
        assert (response.status, (await response.json())["error"]["type"]) == (400, "invalid_request_error")
    assert engines["a"].hits == engines["b"].hits == []


async def test_a_request_is_held_until_a_replica_is_there_or_its_time_is_up(fresh):
    pool, api, session, engines = fresh
    for name, engine in engines.items():
        api.set(name, engine.address, ready=False)
    await pool.usable(0)
    body, headers = await ask(session, 503)
    assert (body["error"]["code"], headers["retry-after"]) == ("no_ready_replica", "2")
    held = asyncio.create_task(ask(session))
    await asyncio.sleep(0.3)
    assert not held.done()
    async with session.get(f"http://{POD}:9002/demand/held") as response:
        told = await response.json()
    assert told["held"] == 1
    api.set("b", engines["b"].address)
    assert (await held)[0]["replica"] == "b"
    async with session.get(f"http://{POD}:9002/demand") as response:
        later = await response.json()
    assert (later["held"], later["requests"], list(later["engines"])) == (0, told["requests"], [""])


async def test_a_subset_that_is_nobody_is_a_503_at_once(fresh):
    _, _, session, _ = fresh
    asked = {"x-test-subset": "9.9.9.9:8000"}
    async with (
        asyncio.timeout(2.5),
        session.post(f"{GATEWAY}/v1/models", headers=asked, json={"model": "t"}) as response,
    ):
        assert response.status == 503


async def test_a_picker_that_ends_lets_its_streams_end_first(fresh):
    pool, _, session, engines = fresh
    async with stream(session) as (response, replica), grpc.aio.insecure_channel(f"{POD}:9006") as channel:
        engines[replica].permits.release()
        await response.content.readline()
        pool.picker.send_signal(signal.SIGTERM)
        check = channel.unary_unary(
            "/grpc.health.v1.Health/Check",
            request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
            response_deserializer=health_pb2.HealthCheckResponse.FromString,
        )

        async def told():
            return (await check(health_pb2.HealthCheckRequest(service="readiness"))).status == 2

        await fakes.until(told)
        assert await pool.status("/readyz", 503, f"http://{POD}:9002")
        assert (await ask(session))[0]["replica"]  # until gateways have noticed
        await asyncio.sleep(5.5)
        assert pool.picker.returncode is None
        for _ in range(2):
            engines[replica].permits.release()
        assert (await response.read()).count(b"data:") == 2
    assert await asyncio.wait_for(pool.picker.wait(), 60) == 0
