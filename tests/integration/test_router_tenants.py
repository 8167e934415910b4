"""Keys and tenants on a whole box: a Secret that comes, changes and goes under running routers, tenants that change.

Simulated engines, everything around them real: operator, kubelet, its volumes, Envoy and picker.
"""

import base64
import hashlib
import time

import aiohttp
import pytest
from traffic.world import NAME, World, box

pytestmark = pytest.mark.integration
MANY = 12
"""Requests that are enough to meet both routers."""


async def ask(http: aiohttp.ClientSession, world: World, key: str | None) -> tuple[int, str]:
    """The status and the text of one answer, on a connection of its own."""
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    body = {"model": NAME, "messages": [{"role": "user", "content": "hello"}], "max_tokens": 1}
    async with http.post(f"{await world.url()}/v1/chat/completions", json=body, headers=headers) as answer:
        return answer.status, await answer.text()


async def codes(http: aiohttp.ClientSession, world: World, key: str | None) -> set[int]:
    return {(await ask(http, world, key))[0] for _ in range(MANY)}


def secret(**keys: str) -> dict[str, object]:
    hashes = {tenant: f"sha256:{hashlib.sha256(key.encode()).hexdigest()}\n" for tenant, key in keys.items()}
    data = {tenant: base64.b64encode(text.encode()).decode() for tenant, text in hashes.items()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "keys"}, "data": data}


@pytest.mark.timeout(480)
async def test_keys_and_tenants_change_while_it_serves(tmp_path):
    connector = aiohttp.TCPConnector(force_close=True)
    async with box(tmp_path, replicas=1) as world, aiohttp.ClientSession(connector=connector) as http:
        engines = {pod["metadata"]["uid"] for pod in await world.pods("engine")}
        open_routers = tuple(pod["metadata"]["name"] for pod in await world.pods("router"))
        assert await codes(http, world, None) == {200}

        await world.change(router={"auth": {"secret": "keys"}})
        await world.settled(1, gone=open_routers)
        assert await codes(http, world, "first") == {401}, "closed as long as there is no Secret"
        routers = {pod["metadata"]["uid"] for pod in await world.pods("router")}

        async def soon(what, key, wanted):
            began = time.monotonic()

            async def seen():
                return await codes(http, world, key) == {wanted}

            await world.until(what, seen, 60)
            assert time.monotonic() - began < 45

        await world.api.create("Secret", secret(chat="first"))
        await soon("a new key is taken", "first", 200)
        assert await codes(http, world, None) == {401}
        await world.api.patch("Secret", "keys", secret(chat="second"))
        await soon("a key that was taken out is refused", "first", 401)
        await soon("and the one in its place is taken", "second", 200)

        await world.change(router={"tenants": [{"name": "chat", "models": ["another"]}]})
        await soon("the tenant may ask for another model only", "second", 404)
        await world.change(router={"tenants": None})
        await soon("and for any again", "second", 200)

        await world.api.delete("Secret", "keys")
        await soon("without the Secret nobody is let in", "second", 401)
        assert {pod["metadata"]["uid"] for pod in await world.pods("router")} == routers, "no router was restarted"
        assert {pod["metadata"]["uid"] for pod in await world.pods("engine")} == engines, "no engine was replaced"
