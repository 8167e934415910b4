"""A real Envoy and a real picker with more requests than replicas: who waits, who goes first, who is sent away.

The world is in router_fakes.py; engines here answer when told, oldest request first.
"""

import asyncio
import hashlib
import importlib.util
import json
import re
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio

# pytest's importlib mode puts no test folder on sys.path.
_spec = importlib.util.spec_from_file_location("router_fakes", Path(__file__).with_name("router_fakes.py"))
fakes = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(fakes)
NET = fakes.NET
TENANTS = ("one", "two", "urgent")
HOLD_SECONDS, SHORT_SECONDS, PLACES = 100, 4, 4
RUNS = 2  # in flight on one replica with maxNumSeqs 1: one runs, one waits in the engine

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="module")]


class World:
    """What a test sees: the router, its API server, engines, and clients."""

    def __init__(self, router, api, session, engines):
        self.router, self.api, self.session, self.engines = router, api, session, engines
        self.clients = []
        self.url, self.picker = f"http://{router.pod}:8000", f"http://{router.pod}:9002"

    def ask(self, user="", tenant="one"):
        """A client in the background; its result is (status, headers, JSON)."""
        self.clients.append(client := asyncio.create_task(self._ask(user, tenant)))
        return client

    async def _ask(self, user, tenant):
        body = {"model": "t", "prompt": "x", "user": user}
        headers = {"authorization": f"Bearer key-of-{tenant}"}
        async with self.session.post(f"{self.url}/v1/completions", json=body, headers=headers) as response:
            return response.status, response.headers, await response.json()

    async def metric(self, pattern):
        """The sum of the metrics that match."""
        async with self.session.get(f"{self.picker}/metrics") as response:
            text = await response.text()
        return sum(float(value) for value in re.findall(rf"^{pattern} ([0-9.e+]+)$", text, re.MULTILINE))

    async def held(self, count):
        async def check():
            return await self.metric(r"manta_router_queue_length\{.*\}") == count

        await fakes.until(check)

    async def nobody_waits(self):
        await self.held(0)

    async def asked(self, count, name="a"):
        try:
            await fakes.until(lambda: asyncio.sleep(0, len(self.engines[name].asked) == count))
        except TimeoutError as error:
            found = {each: len(engine.asked) for each, engine in self.engines.items()}
            raise AssertionError(f"{name} is not asked {count} times, but {found}") from error

    async def fill(self):
        """Replica a has all it may have."""
        self.api.set("a", self.engines["a"].address)
        await self.router.usable(1)
        running = [self.ask("running") for _ in range(RUNS)]
        await self.asked(RUNS)
        return running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def outside():
    """The API server, and a session for clients."""
    api = fakes.FakeApiServer()
    async with AsyncExitStack() as stack:
        await api.start()
        stack.push_async_callback(api.stop)
        session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=120))
        yield api, await stack.enter_async_context(session)


@asynccontextmanager
async def started(folder, outside, seconds, pod=fakes.POD):
    """A router that holds requests for so long."""
    (folder / "keys").mkdir()
    for name in TENANTS:
        digest = hashlib.sha256(f"key-of-{name}".encode()).hexdigest()
        (folder / "keys" / name).write_text(f"sha256:{digest}\n")
    (folder / "tenants.yaml").write_text("tenants: [{name: urgent, priority: 1}]\n")
    api, session = outside
    places = {"keysDir": str(folder / "keys"), "tenantsFile": str(folder / "tenants.yaml")}
    hold = {"seconds": seconds, "queueSize": PLACES}
    found = fakes.Router(folder, session, api.ca, pod, auth=True, maxNumSeqs=1, hold=hold, **places)
    await found.start()
    try:
        yield found
    finally:
        await found.stop()


@asynccontextmanager
async def inhabited(router, outside):
    """No replicas, idle engines, nobody waits."""
    api, session = outside
    api.clear()
    await router.usable(0)
    engines = {name: fakes.Gated(name, f"{NET}.{number}") for number, name in enumerate("ab", start=10)}
    async with fakes.inhabited(World(router, api, session, engines)) as world:
        yield world


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def router(tmp_path_factory, outside):
    """Holds requests for longer than a test takes on a busy machine."""
    async with started(tmp_path_factory.mktemp("router"), outside, HOLD_SECONDS) as found:
        yield found


@pytest_asyncio.fixture(loop_scope="module")
async def world(router, outside):
    async with inhabited(router, outside) as world:
        yield world


async def test_requests_wait_for_the_first_replica(world):
    clients = [world.ask() for _ in range(2)]
    await world.held(2)
    world.api.set("a", world.engines["a"].address)
    await world.asked(2)
    for _ in clients:
        world.engines["a"].finish()
    for status, headers, body in await asyncio.gather(*clients):
        assert (status, headers["x-manta-replica"], body) == (200, "a", {"replica": "a"})


async def test_a_new_replica_takes_what_waits_for_a_full_one(world):
    await world.fill()
    client = world.ask("waits")
    await world.held(1)
    world.api.set("b", world.engines["b"].address)
    await world.asked(1, "b")
    world.engines["b"].finish()
    assert (await client)[2] == {"replica": "b"}
    assert world.engines["b"].asked == ["waits"]


async def test_tenants_take_turns_and_priority_goes_first(world):
    await world.fill()
    for count, (user, tenant) in enumerate(
        [("one 1", "one"), ("one 2", "one"), ("two 1", "two"), ("urgent 1", "urgent")], start=1
    ):
        world.ask(user, tenant)
        await world.held(count)
    for count in range(1, 5):
        world.engines["a"].finish()
        await world.asked(RUNS + count)
    assert world.engines["a"].asked[RUNS:] == ["urgent 1", "one 1", "two 1", "one 2"]


async def test_a_flood_of_one_tenant_leaves_the_other_its_share(world):
    """Both get as much of the replica while both wait, whatever the one sends."""
    await world.fill()
    flood = [world.ask(f"one {number}", "one") for number in range(20)]
    await world.held(PLACES)
    mine = [world.ask(f"two {number}", "two") for number in range(PLACES // 2)]

    async def share():
        return await world.metric(r'manta_router_queue_length\{tenant="two"\}') == PLACES / 2

    await fakes.until(share)
    for count in range(1, PLACES + 1):
        world.engines["a"].finish()
        await world.asked(RUNS + count)
    served = [user.partition(" ")[0] for user in world.engines["a"].asked[RUNS:]]
    assert sorted(served[:2]) == sorted(served[2:]) == ["one", "two"]
    refused = [client.result() for client in flood if client.done() and client.result()[0] != 200]
    assert len(refused) == 20 - PLACES // 2
    codes = {body["error"]["code"] for _, _, body in refused}
    assert codes == {"queue_full", "queue_share_exceeded"}
    assert not any(client.done() and client.result()[0] != 200 for client in mine)


@pytest.mark.parametrize(
    ("tenant", "status", "code"), [("one", 503, "queue_full"), ("two", 429, "queue_share_exceeded")]
)
async def test_a_full_queue_says_so_in_openais_form(world, tenant, status, code):
    for _ in range(PLACES if tenant == "one" else PLACES // 2):
        world.ask(tenant="one")
    for _ in range(0 if tenant == "one" else PLACES // 2):
        world.ask(tenant="two")
    await world.held(PLACES)
    answer = await world.ask(tenant=tenant)
    assert answer[0] == status
    assert answer[1].get("content-type") == "application/json"
    assert int(answer[1]["retry-after"]) > 0
    assert (answer[2]["error"]["code"], "message" in answer[2]["error"]) == (code, True)


async def test_who_leaves_is_out_of_the_queue(world):
    before = await world.metric("manta_router_held_left_total")
    clients = [world.ask(user) for user in ("leaves", "stays")]
    await world.held(2)
    clients[0].cancel()
    await world.held(1)
    assert await world.metric("manta_router_held_left_total") == before + 1
    world.api.set("a", world.engines["a"].address)
    await world.asked(1)
    world.engines["a"].finish()
    assert (await clients[1])[0] == 200
    assert world.engines["a"].asked == ["stays"]


async def test_a_dead_replica_is_left_out_at_once_and_comes_back(world):
    ejections = r'manta_router_ejections_total\{replica="a"\}'
    for name in "ab":
        world.api.set(name, world.engines[name].address)
    await world.router.usable(2)
    before = await world.metric(ejections)
    await world.engines["a"].runner.cleanup()
    for count in range(1, 4):
        client = world.ask()
        await world.asked(count, "b")
        world.engines["b"].finish()
        assert (await client)[2] == {"replica": "b"}
    assert await world.metric(ejections) - before <= 1, "one failure is enough"
    assert await world.metric("manta_router_replicas_ejected") == 1
    await world.engines["a"].start()

    async def back():
        return await world.metric("manta_router_replicas_ejected") == 0

    await fakes.until(back)


async def test_held_requests_outlive_their_picker(world):
    """Envoy asks again, the client knows nothing of it."""
    clients = [world.ask() for _ in range(2)]
    await world.held(2)
    world.router.picker.kill()
    await world.router.picker.wait()
    watches = len(world.api.watchers)
    world.router.picker = await world.router.run("picker")
    await fakes.until(lambda: asyncio.sleep(0, len(world.api.watchers) > watches))
    await fakes.until(lambda: world.router.status("/readyz", 200, world.picker))
    await world.held(2)
    world.api.set("a", world.engines["a"].address)
    await world.asked(2)
    for _ in clients:
        world.engines["a"].finish()
    assert [(await client)[0] for client in clients] == [200, 200]


async def test_nobody_waits_for_ever(tmp_path, outside):
    async with (
        started(tmp_path, outside, SHORT_SECONDS, f"{NET}.3") as router,
        inhabited(router, outside) as world,
    ):
        for code in ("no_ready_replica", "hold_expired"):
            began = asyncio.get_running_loop().time()
            status, headers, body = await world.ask()
            assert (status, body["error"]["code"]) == (503, code)
            assert int(headers["retry-after"]) > 0
            assert SHORT_SECONDS <= asyncio.get_running_loop().time() - began < SHORT_SECONDS + 20
            await world.fill()


async def test_held_requests_are_served_while_the_router_ends(world):
    """Last: it ends the router. What is held when the signal comes is still placed."""
    client = world.ask()
    await world.held(1)
    world.router.envoy.terminate()
    world.router.picker.terminate()
    await asyncio.sleep(1)
    world.api.set("a", world.engines["a"].address)
    await world.asked(1)
    world.engines["a"].finish()
    assert (await client)[2] == {"replica": "a"}
    assert json.dumps(await asyncio.gather(world.router.envoy.wait(), world.router.picker.wait())) == "[0, 0]"
