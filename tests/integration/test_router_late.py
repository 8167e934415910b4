"""A real Envoy that hears late of new replicas, as on a busy node: nobody is sent to one before it knows it.

The world is in router_fakes.py; engines answer when told.
"""

import asyncio
import importlib.util
import json
from pathlib import Path

import aiohttp
import pytest

# pytest's importlib mode puts no test folder on sys.path.
_spec = importlib.util.spec_from_file_location("router_fakes", Path(__file__).with_name("router_fakes.py"))
fakes = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(fakes)
RUNS = 2  # in flight on one replica with maxNumSeqs 1: one runs, one waits in the engine
LATE = """
from threading import Timer
from manta_runtime.router import endpoints
replace = endpoints.replace
endpoints.replace = lambda *args: Timer(0.5, replace, args).start()
"""

pytestmark = pytest.mark.integration


class World:
    """A router whose Envoy hears late, its API server and engines."""

    def __init__(self, folder, session):
        self.session, self.api, self.clients = session, fakes.FakeApiServer(), []
        self.engines = {name: fakes.Gated(name, f"{fakes.NET}.{number}") for number, name in enumerate("ab", start=10)}
        self.folder = folder

    async def start(self):
        await self.api.start()
        (self.folder / "tenants.yaml").write_text("tenants: []\n")
        more = {"maxNumSeqs": 1, "hold": {"seconds": 100}, "tenantsFile": str(self.folder / "tenants.yaml")}
        self.router = fakes.Router(self.folder, self.session, self.api.ca, prelude=LATE, **more)
        await self.router.start()

    def ask(self, user):
        self.clients.append(client := asyncio.create_task(self._ask(user)))
        return client

    async def _ask(self, user):
        body = {"model": "t", "prompt": "x", "user": user}
        async with self.session.post(f"{fakes.URL}/v1/completions", json=body) as response:
            return response.status, (await response.json()).get("replica")

    async def nobody_waits(self):
        await self.held(0)

    async def held(self, count):
        async def check():
            async with self.session.get(f"http://{fakes.POD}:9002/demand") as response:
                return (await response.json())["held"] == count

        await fakes.until(check)

    async def serves(self, name, *users):
        """The replica comes, gets these requests and answers them."""
        engine = self.engines[name]
        self.api.set(name, engine.address)
        await fakes.until(lambda: asyncio.sleep(0, len(engine.asked) == len(users)))
        assert tuple(engine.asked) == users

    async def known(self):
        """The version of the endpoints that Envoy says it has."""
        async with self.session.get(f"http://{fakes.POD}:9901/endpoints") as response:
            assert response.status == 200
            return await response.text()


async def test_who_waits_for_the_first_replica_or_the_next_is_sent_to_it_when_envoy_knows_it(tmp_path):
    """Else the first would be refused, and the next would wait at a replica that is full."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=120)) as session:
        world = World(tmp_path, session)
        await world.start()
        try:
            async with fakes.inhabited(world):
                before = await world.known()
                clients = [world.ask("first") for _ in range(RUNS)]
                await world.held(RUNS)
                await world.serves("a", "first", "first")
                clients.append(world.ask("next"))
                await world.held(1)
                await world.serves("b", "next")
                for name, count in (("a", RUNS), ("b", 1)):
                    for _ in range(count):
                        world.engines[name].finish()
                assert await asyncio.gather(*clients) == [*[(200, "a")] * RUNS, (200, "b")]
                written = json.loads((tmp_path / "run" / "endpoints.json").read_text())["version_info"]
                assert await world.known() == written != before
        finally:
            await world.router.stop()
            await world.api.stop()
