"""Two routers, each a real Envoy and a real picker, share the limits of their tenants, and outlive each other.

Fake: engines and the API server (router_fakes.py), which here tells engines from routers by the label selector.
"""

import asyncio
import importlib.util
import re
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio
import yaml
from aiohttp import web

# pytest's importlib mode puts no test folder on sys.path.
_spec = importlib.util.spec_from_file_location("router_fakes", Path(__file__).with_name("router_fakes.py"))
fakes = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(fakes)
ROUTERS = "role=router"
LIMIT, FIRST = 12, 8
NEWS_SECONDS = 5  # they ask each other once a second
_USED = re.compile(r"limit of (\d+) requests per minute: (\d+) used")

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="module")]


class ApiServer(fakes.FakeApiServer):
    """Answers a list of `role=router` with the routers' pods, any other with the engines'; nothing ever changes."""

    def __init__(self, routers):
        super().__init__()
        for number, address in enumerate(routers):
            self.set(f"router-{number}", address)
        self.routers, self.pods = self.pods, {}

    async def answer(self, request):
        if request.query.get("labelSelector") != ROUTERS:
            return await super().answer(request)
        if "watch" in request.query:
            await asyncio.sleep(60)
        items = list(self.routers.values())
        return web.json_response({"metadata": {"resourceVersion": "1"}, "items": items})


class World:
    """Two routers before one engine."""

    def __init__(self, session, routers):
        self.session, self.routers = session, routers

    def tenants(self, *tenants):
        for router in self.routers:
            new = router.folder / "new"
            new.write_text(yaml.safe_dump({"tenants": list(tenants)}))
            new.replace(router.folder / "tenants.yaml")

    async def ask(self, number):
        """The status and the text of one router's answer to one request."""
        url = f"http://{self.routers[number].pod}:8000/v1/chat/completions"
        body = {"model": "t", "messages": [{"role": "user", "content": "hello"}]}
        async with self.session.post(url, json=body) as response:
            return response.status, await response.text()

    async def until_refused(self, number, used):
        """Ask one router until it refuses, which must be for `used` and what it let in by then; returns the latter."""
        admitted = 0
        while True:
            status, text = await self.ask(number)
            if status == 429:
                limit, told = map(int, _USED.search(text).groups())
                assert (limit, told) == (LIMIT, used + admitted)
                return admitted
            assert status == 200, text
            admitted += 1
            assert admitted < LIMIT, "it has not heard of the other one"
            await asyncio.sleep(0.7)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory):
    pods = [f"{fakes.NET}.2", f"{fakes.NET}.3"]
    api, engine = ApiServer(pods), fakes.FakeEngine("a", f"{fakes.NET}.10")
    async with AsyncExitStack() as stack:
        for server in (api, engine):
            await server.start()
            stack.push_async_callback(server.stop)
        session = await stack.enter_async_context(aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)))
        routers = []
        for pod in pods:
            folder = tmp_path_factory.mktemp("router")
            more = {"routerSelector": ROUTERS, "tenantsFile": f"{folder}/tenants.yaml"}
            routers.append(fakes.Router(folder, session, api.ca, pod, **more))
        made = World(session, routers)
        made.tenants({"name": "anonymous", "requestsPerMinute": LIMIT})
        for router in routers:
            await router.start()
            stack.push_async_callback(router.stop)
        api.set("a", engine.address)
        for router in routers:
            await router.usable(1)
        yield made


async def test_what_one_lets_in_counts_at_the_other_and_survives_its_end(world):
    one, other = world.routers
    assert [(await world.ask(0))[0] for _ in range(FIRST)] == [200] * FIRST
    late = await world.until_refused(1, FIRST)
    assert FIRST + late >= LIMIT
    await asyncio.sleep(NEWS_SECONDS)
    assert await world.until_refused(0, FIRST + late) == 0, "and the other way round"

    one.picker.kill()
    await one.picker.wait()
    await asyncio.sleep(NEWS_SECONDS)
    assert (await world.ask(1))[0] == 429, "what it let in is not forgotten with it"
    assert (other.folder / "picker.log").read_text().count("does not tell its usage") == 1, "said once"

    one.picker = await one.run("picker")
    await one.wait()
    await asyncio.sleep(NEWS_SECONDS)
    assert (await world.ask(1))[0] == 429, "one that began anew has told nothing yet, and takes nothing back"
    status, text = await world.ask(0)
    assert status == 200, text
