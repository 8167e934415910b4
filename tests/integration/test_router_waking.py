"""A real Envoy and a real picker of a deployment at zero: who waits for the first replica, and what the operator hears.

The world is in router_fakes.py; engines answer when told, and count tokens as Manta's launcher makes vLLM tell them.
"""

import asyncio
import importlib.util
import json
import time
from contextlib import AsyncExitStack, suppress
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
HOLD_SECONDS, WAKE_SECONDS, PLACES, BURST = 2, 300, 200, 500
TOKENS = {"x-manta-prompt-tokens": "50", "x-manta-completion-tokens": "7", "x-manta-cached-tokens": "0"}

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="module")]


class Counting(fakes.FakeEngine):
    """Answers at once and tells tokens; `metrics_are`: what /metrics says, a coroutine function."""

    full = False
    metrics_are = None

    async def metrics(self, request):
        return await self.metrics_are(request) if self.metrics_are else await super().metrics(request)

    async def answer(self, request):
        body = await request.json()
        self.hits.append(body.get("user", ""))
        if self.full:
            return web.json_response({"error": "full"}, status=503)
        return web.json_response({"replica": self.name}, headers=TOKENS)


class World:
    """The router, its API server, engines, and clients."""

    def __init__(self, router, api, session, engines):
        self.router, self.api, self.session, self.engines = router, api, session, engines
        self.clients = []

    def ask(self, user="", **body):
        """A client in the background; its result is (status, headers, JSON)."""
        self.clients.append(
            client := asyncio.create_task(self._ask({"model": "t", "prompt": "x", "user": user} | body))
        )
        return client

    async def _ask(self, body):
        async with self.session.post(f"{URL}/v1/completions", json=body) as response:
            return response.status, response.headers, await response.json()

    async def demand(self, path="/demand"):
        async with self.session.get(PICKER + path) as response:
            assert response.status == 200
            return await response.json()

    async def nobody_waits(self):
        await self.until(held=0)

    async def until(self, **wanted):
        """Wait until /demand says so."""

        async def check():
            told = await self.demand()
            return {name: told[name] for name in wanted} == wanted

        await fakes.until(check)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def router(tmp_path_factory):
    folder = tmp_path_factory.mktemp("router")
    (folder / "tenants.yaml").write_text("tenants: []\n")
    api = fakes.FakeApiServer()
    async with AsyncExitStack() as stack:
        await api.start()
        stack.push_async_callback(api.stop)
        connector = aiohttp.TCPConnector(limit=0)
        session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=120), connector=connector)
        await stack.enter_async_context(session)
        hold = {"seconds": HOLD_SECONDS, "wakeSeconds": WAKE_SECONDS, "queueSize": PLACES}
        found = fakes.Router(folder, session, api.ca, hold=hold, tenantsFile=str(folder / "tenants.yaml"))
        await found.start()
        stack.push_async_callback(found.stop)
        yield found, api, session


@pytest_asyncio.fixture(loop_scope="module")
async def world(router):
    """No replicas, idle engines, nobody waits."""
    found, api, session = router
    api.clear()
    await found.usable(0)
    engines = {name: Counting(name, f"{NET}.{number}") for number, name in enumerate(("a-0", "b-0"), start=10)}
    async with fakes.inhabited(World(found, api, session, engines)) as world:
        yield world


async def test_who_comes_at_zero_waits_longer_than_for_a_busy_replica_and_is_answered_by_the_first(world):
    clients = [world.ask() for _ in range(3)]
    await world.until(held=3)

    async def waited():
        return (await world.demand())["queueAge"] > HOLD_SECONDS + 1

    await fakes.until(waited)
    world.api.set("a-0", world.engines["a-0"].address)
    for status, headers, body in await asyncio.gather(*clients):
        assert (status, headers["x-manta-replica"], body) == (200, "a-0", {"replica": "a-0"})


async def test_a_burst_at_zero_is_answered_as_far_as_there_are_places_and_refused_at_once_beyond(world):
    before = await world.demand()
    began = time.monotonic()
    clients = [world.ask(str(number)) for number in range(BURST)]
    done = 0
    async with asyncio.timeout(60):
        while done < BURST - PLACES:
            await asyncio.wait([c for c in clients if not c.done()], return_when=asyncio.FIRST_COMPLETED)
            done = sum(client.done() for client in clients)
    refusing = time.monotonic() - began
    refused = [client.result() for client in clients if client.done()]
    assert len(refused) == BURST - PLACES
    assert {(status, body["error"]["code"]) for status, _, body in refused} == {(503, "queue_full")}
    assert {int(headers["retry-after"]) for _, headers, _ in refused} == {60}
    told = await world.demand()
    assert (told["held"], told["requests"] - before["requests"]) == (PLACES, BURST)
    world.api.set("a-0", world.engines["a-0"].address)
    answers = await asyncio.gather(*clients)
    assert sorted(status for status, _, _ in answers) == [200] * PLACES + [503] * (BURST - PLACES)
    assert len(world.engines["a-0"].hits) == PLACES, "each once"
    await world.until(held=0, inFlight=0, answers=before["answers"] + PLACES)
    assert refusing < 30, "at once, on a slow machine too"


async def test_the_first_request_held_is_told_to_all_who_wait_for_it(world):
    waiting = [asyncio.create_task(world.demand("/demand/held")) for _ in range(5)]
    async with aiohttp.ClientSession() as another:  # one that goes away
        with suppress(TimeoutError):
            async with asyncio.timeout(0.3), another.get(f"{PICKER}/demand/held"):
                raise AssertionError("nobody was held")
    assert not any(task.done() for task in waiting)
    began = time.monotonic()
    client = world.ask()
    told = await asyncio.gather(*waiting)
    took = time.monotonic() - began
    assert [one["held"] for one in told] == [1] * 5
    assert (await world.demand("/demand/held"))["held"] == 1, "at once"
    world.api.set("a-0", world.engines["a-0"].address)
    assert (await client)[0] == 200
    began = time.monotonic()
    assert (await world.demand("/demand/held"))["held"] == 0
    assert 9 < time.monotonic() - began < 30, "in time, though nobody came"
    assert took < 1, "within milliseconds, on a slow machine within a second"


async def test_a_client_that_leaves_is_not_held_and_counted_once(world):
    before = await world.demand()
    client, stays = world.ask("leaves"), world.ask("stays")
    await world.until(held=2)
    client.cancel()
    await world.until(held=1)
    world.api.set("a-0", world.engines["a-0"].address)
    assert (await stays)[0] == 200
    assert world.engines["a-0"].hits == ["stays"]
    assert (await world.demand())["requests"] == before["requests"] + 2


async def test_a_request_counts_once_when_it_is_tried_again_and_not_at_all_when_it_may_not_come_in(world):
    world.engines["a-0"].full = True
    for engine in world.engines.values():
        world.api.set(engine.name, engine.address)
    await world.until(usable=2)
    before = await world.demand()
    answers = await asyncio.gather(*(world.ask(str(number)) for number in range(10)))
    assert {(status, body["replica"]) for status, _, body in answers} == {(200, "b-0")}
    assert world.engines["a-0"].hits, "some were tried there first"
    assert (await world.ask(model="gpt"))[0] == 404
    await world.until(answers=before["answers"] + 10, tokensOut=before["tokensOut"] + 70)
    told = await world.demand()
    assert (told["requests"] - before["requests"], told["inFlight"]) == (10, 0)
    assert told["tokensIn"] > before["tokensIn"]
    assert told["pairs"] > before["pairs"]


METRICS = """\
vllm:num_requests_running{e="0"} 3.0
vllm:num_requests_waiting{e="0"} 2.0
vllm:kv_cache_usage_perc{e="0"} 0.5
vllm:prompt_tokens_total{e="0"} %s
vllm:generation_tokens_total{e="0"} 50.0
vllm:prefix_cache_hits_total{e="0"} 20.0
vllm:time_to_first_token_seconds_bucket{e="0",le="0.5"} 4.0
vllm:time_to_first_token_seconds_bucket{e="0",le="+Inf"} 6.0
"""


async def test_an_engine_that_lies_or_says_nothing_is_missing_and_one_that_starts_anew_is_another(world):
    engine = world.engines["a-0"]

    def says(text):
        async def metrics(request):
            return web.Response(text=text)

        engine.metrics_are = metrics

    async def engines(check):
        async def checked():
            return check((await world.demand())["engines"])

        await fakes.until(checked)

    says(METRICS % "100.0")
    world.api.set("a-0", engine.address)
    await engines(lambda told: told.get("a", {}).get("promptTokens") == 100)
    told = (await world.demand())["engines"]["a"]
    assert 0 <= told.pop("age") < 10
    instance = told.pop("instance")
    assert told == {
        "waiting": 2, "running": 3, "kvUsage": 0.5, "promptTokens": 100, "generatedTokens": 50, "hitTokens": 20,
        "firstToken": {"bounds": [0.5], "counts": [4, 2]}, "betweenTokens": None, "inFlight": 0,
    }  # fmt: skip
    says(METRICS % "7.0")
    await engines(lambda told: told["a"]["promptTokens"] == 7 and told["a"]["instance"] != instance)
    for lie in (METRICS % "NaN", METRICS % "1e300", METRICS % "9.0" + "#" * (10 << 20)):
        says(lie)
        await engines(lambda told: "a" not in told)
        assert (await world.ask())[0] == 200, "it serves"
        says(METRICS % "9.0")
        await engines(lambda told: "a" in told)

    async def hangs(_):
        await asyncio.Event().wait()

    engine.metrics_are = hangs
    await engines(lambda told: "a" not in told)
    assert (await world.ask())[0] == 200


async def test_what_waits_at_zero_is_served_while_the_router_ends_and_questions_leave_nothing(world):
    """Last: it ends the router."""
    client = world.ask()
    await world.until(held=1)
    began = time.monotonic()
    world.router.envoy.terminate()
    world.router.picker.terminate()

    async def drains():
        return not await world.router.status("/healthz", 200)

    await fakes.until(drains)
    world.api.set("a-0", world.engines["a-0"].address)
    assert (await client)[2] == {"replica": "a-0"}
    await world.until(held=0)
    asking = asyncio.create_task(world.demand("/demand/held"))
    codes = await asyncio.gather(world.router.envoy.wait(), world.router.picker.wait())
    await asyncio.gather(asking, return_exceptions=True)
    assert json.dumps(codes) == "[0, 0]"
    assert time.monotonic() - began < 60
    assert "Traceback" not in (world.router.folder / "picker.log").read_text()
