"""A real Envoy and a real picker with more requests than replicas: who waits, who goes first, who is sent away.

The world is in router_fakes.py; engines here answer when told, oldest request first.
"""

import asyncio
import hashlib
import importlib.util
import json
import re
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web

# pytest's importlib mode puts no test folder on sys.path.
_spec = importlib.util.spec_from_file_location("router_fakes", Path(__file__).with_name("router_fakes.py"))
fakes = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(fakes)
NET, POD, URL = fakes.NET, fakes.POD, fakes.URL
PICKER = f"http://{POD}:9002"
TENANTS = ("one", "two", "urgent")
HOLD_SECONDS, PLACES = 4, 4
RUNS = 2  # in flight on one replica with maxNumSeqs 1: one runs, one waits in the engine

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="module")]


class Gated(fakes.FakeEngine):
    """Answers the oldest request when `finish` is called; `asked` has what each one sent as "user"."""

    def __init__(self, name, address):
        super().__init__(name, address)
        self.asked, self.gates = [], []

    async def answer(self, request):
        self.asked.append((await request.json()).get("user", ""))
        self.gates.append(gate := asyncio.get_running_loop().create_future())
        try:
            await gate
        finally:
            if gate in self.gates:
                self.gates.remove(gate)
        return web.json_response({"replica": self.name})

    def finish(self):
        self.gates.pop(0).set_result(None)


class World:
    """What a test sees: the router, its API server, engines, and clients."""

    def __init__(self, router, api, session, engines):
        self.router, self.api, self.session, self.engines = router, api, session, engines
        self.clients = []

    def ask(self, user="", tenant="one"):
        """A client in the background; its result is (status, headers, JSON)."""
        self.clients.append(client := asyncio.create_task(self._ask(user, tenant)))
        return client

    async def _ask(self, user, tenant):
        body = {"model": "t", "prompt": "x", "user": user}
        headers = {"authorization": f"Bearer key-of-{tenant}"}
        async with self.session.post(f"{URL}/v1/completions", json=body, headers=headers) as response:
            return response.status, response.headers, await response.json()

    async def metric(self, pattern):
        """The sum of the metrics that match."""
        async with self.session.get(f"{PICKER}/metrics") as response:
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
async def router(tmp_path_factory):
    folder = tmp_path_factory.mktemp("router")
    (folder / "keys").mkdir()
    for name in TENANTS:
        digest = hashlib.sha256(f"key-of-{name}".encode()).hexdigest()
        (folder / "keys" / name).write_text(f"sha256:{digest}\n")
    (folder / "tenants.yaml").write_text("tenants: [{name: urgent, priority: 1}]\n")
    api = fakes.FakeApiServer()
    async with AsyncExitStack() as stack:
        await api.start()
        stack.push_async_callback(api.stop)
        session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30))
        await stack.enter_async_context(session)
        places = {"keysDir": str(folder / "keys"), "tenantsFile": str(folder / "tenants.yaml")}
        hold = {"seconds": HOLD_SECONDS, "queueSize": PLACES}
        found = fakes.Router(folder, session, api.ca, auth=True, maxNumSeqs=1, hold=hold, **places)
        await found.start()
        stack.push_async_callback(found.stop)
        yield found, api, session


@pytest_asyncio.fixture(loop_scope="module")
async def world(router):
    """No replicas, idle engines, nobody waits."""
    found, api, session = router
    api.clear()
    await found.usable(0)
    engines = {name: Gated(name, f"{NET}.{number}") for number, name in enumerate("ab", start=10)}
    async with fakes.inhabited(World(found, api, session, engines)) as world:
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


@pytest.mark.parametrize(("replicas", "code"), [(0, "no_ready_replica"), (1, "hold_expired")])
async def test_nobody_waits_for_ever(world, replicas, code):
    if replicas:
        await world.fill()
    began = asyncio.get_running_loop().time()
    status, headers, body = await world.ask()
    assert (status, body["error"]["code"]) == (503, code)
    assert int(headers["retry-after"]) > 0
    assert HOLD_SECONDS <= asyncio.get_running_loop().time() - began < HOLD_SECONDS + 20


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


async def test_the_picker_answers_for_the_models(world):
    headers = {"authorization": "Bearer key-of-one"}
    async with world.session.get(f"{URL}/v1/models", headers=headers) as response:
        assert (response.status, response.content_type) == (200, "application/json")
        assert [model["id"] for model in (await response.json())["data"]] == ["t", "alias"]
    async with world.session.get(f"{URL}/v1/models/gpt", headers=headers) as response:
        assert (response.status, (await response.json())["error"]["code"]) == (404, "model_not_found")
    async with world.session.get(f"{URL}/v1/models") as response:
        assert response.status == 401


async def test_held_requests_outlive_their_picker(world):
    """Envoy asks again, the client knows nothing of it."""
    clients = [world.ask() for _ in range(2)]
    await world.held(2)
    world.router.picker.kill()
    await world.router.picker.wait()
    watches = len(world.api.watchers)
    world.router.picker = await world.router.run("picker")
    await fakes.until(lambda: asyncio.sleep(0, len(world.api.watchers) > watches))
    await fakes.until(lambda: world.router.status("/readyz", 200, PICKER))
    await world.held(2)
    world.api.set("a", world.engines["a"].address)
    await world.asked(2)
    for _ in clients:
        world.engines["a"].finish()
    assert [(await client)[0] for client in clients] == [200, 200]


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
