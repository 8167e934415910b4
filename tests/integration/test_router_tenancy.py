"""API keys and limits through a real Envoy and a real picker: what clients get, and what engines never see."""

import asyncio
import hashlib
import importlib.util
import json
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
URL = fakes.URL
CHAT = f"{URL}/v1/chat/completions"

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="module")]


class Engine(fakes.FakeEngine):
    """Notes the headers it gets, and says how many tokens an answer took: those that `user` asks for."""

    async def answer(self, request):
        self.hits.append({name.lower(): value for name, value in request.headers.items()})
        body = await request.json() if request.can_read_body else {}
        usage = {"prompt_tokens": 10, "completion_tokens": int(body.get("user") or 10)}
        if not body.get("stream"):
            told = {f"x-manta-{name.replace('_', '-')}": str(count) for name, count in usage.items()}
            return web.json_response({"replica": self.name, "choices": [], "usage": usage}, headers=told)
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        for number in range(3):
            await self.permits.acquire()
            await response.write(b'data: {"choices": [{"delta": {"content": "%d"}}]}\n\n' % number)
        await response.write(f"data: {json.dumps({'choices': [], 'usage': usage})}\n\ndata: [DONE]\n\n".encode())
        return response


class World:
    """A router that asks for keys, its Secret as a kubelet mounts it, one engine."""

    def __init__(self, router, engine, session):
        self.router, self.engine, self.session = router, engine, session
        self.keys, self.versions = router.folder / "keys", 0
        self.keys.mkdir()

    def secret(self, **tenants):
        """These keys and no others: another folder, and `..data` points to it from one moment to the next."""
        self.versions += 1
        version = self.keys / f"..{self.versions}"
        version.mkdir()
        for tenant, key in tenants.items():
            (version / tenant).write_text(f"sha256:{hashlib.sha256(key.encode()).hexdigest()}\n")
        (self.keys / "..new").symlink_to(version.name)
        (self.keys / "..new").replace(self.keys / "..data")

    def tenants(self, *tenants):
        new = self.router.folder / "new"
        new.write_text(yaml.safe_dump({"tenants": list(tenants)}))
        new.replace(self.router.folder / "tenants.yaml")

    def ask(self, key="a-key", headers=None, **body):
        given = {"authorization": f"Bearer {key}"} if headers is None else headers
        messages = [{"role": "user", "content": "hello"}]
        return self.session.post(CHAT, json={"model": "t", "messages": messages, **body}, headers=given)

    async def status(self, *args, **kwargs):
        async with self.ask(*args, **kwargs) as response:
            await response.read()
            return response.status

    async def becomes(self, status, *args, **kwargs):
        """Wait for the next look at the files."""

        async def is_it():
            return await self.status(*args, **kwargs) == status

        await fakes.until(is_it)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory):
    api, engine = fakes.FakeApiServer(), Engine("a", f"{fakes.NET}.10")
    async with AsyncExitStack() as stack:
        for server in (api, engine):
            await server.start()
            stack.push_async_callback(server.stop)
        session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20))
        await stack.enter_async_context(session)
        router = fakes.Router(tmp_path_factory.mktemp("tenancy"), session, api.ca)
        config = yaml.safe_load((router.folder / "router.yaml").read_text())
        config |= {"auth": True, "keysDir": f"{router.folder}/keys", "tenantsFile": f"{router.folder}/tenants.yaml"}
        (router.folder / "router.yaml").write_text(yaml.safe_dump(config))
        made = World(router, engine, session)
        made.secret(ann="a-key", bob="b-key")
        await router.start()
        stack.push_async_callback(router.stop)
        api.set("a", engine.address)
        await router.usable(1)
        yield made


@pytest_asyncio.fixture(autouse=True, loop_scope="module")
async def permits(world):
    """No stream goes on by what an earlier test has left."""
    world.engine.permits = asyncio.Semaphore(0)


@pytest.mark.parametrize(
    ("case", "headers"),
    [
        ("none", {}),
        ("wrong", {"authorization": "Bearer nope"}),
        ("another scheme", {"authorization": "Basic YS1rZXk="}),
        ("two that differ", {"authorization": "Bearer a-key", "x-api-key": "b-key"}),
        ("a tenant's name", {"x-manta-tenant": "ann"}),
        ("sent twice", [("authorization", "Bearer a-key"), ("authorization", "Bearer b-key")]),
    ],
)
async def test_nobody_comes_in_without_a_key(case, headers, world):
    world.engine.hits.clear()
    async with world.ask(headers=headers) as response:
        assert (response.status, response.content_type) == (401, "application/json"), case
        assert response.headers["www-authenticate"] == "Bearer"
        assert (await response.json())["error"]["code"] == "invalid_api_key"
    assert world.engine.hits == []


async def test_a_key_opens_and_engines_never_see_it(world):
    for headers in ({"authorization": "bearer  a-key"}, {"x-api-key": "a-key", "x-manta-tenant": "bob"}):
        assert await world.status(headers=headers) == 200
        seen = world.engine.hits[-1]
        assert not [name for name in seen if name in ("authorization", "x-api-key") or name.startswith("x-manta-")]
        assert "a-key" not in json.dumps(seen)


async def test_a_key_revoked_amid_a_stream(world):
    async with world.ask(stream=True) as response:
        assert response.status == 200
        world.engine.permits.release()
        assert (await response.content.readline()).startswith(b"data: ")
        world.secret(ann="another", bob="b-key")
        await world.becomes(401)
        assert await world.status("another") == 200
        for _ in range(2):
            world.engine.permits.release()
        assert (await response.read()).endswith(b"data: [DONE]\n\n")
    world.secret(ann="a-key", bob="b-key")
    await world.becomes(200)


@pytest.mark.parametrize("streamed", [False, True])
async def test_tokens_are_counted_by_usage_of_streams_as_well(streamed, world):
    name = f"cid{int(streamed)}"
    world.tenants({"name": name, "tokensPerMinute": 2000})
    world.secret(ann="a-key", **{name: "c-key"})
    await world.becomes(200, "c-key", user="100")
    for _ in range(3):
        world.engine.permits.release()
    async with world.ask("c-key", stream=streamed, user="1800") as response:
        text = await response.text()
        assert response.status == 200, text
    assert ("usage" in text) is not streamed, "who did not ask for usage in a stream does not see it"

    async def settled():
        async with world.ask("c-key") as response:
            body = await response.json()
            if response.status != 429:
                return False
            assert (body["error"]["code"], body["error"]["type"]) == ("rate_limit_exceeded", "tokens")
            assert 50 <= int(response.headers["retry-after"]) <= 61
            return True

    await fakes.until(settled)
    assert await world.status("a-key") == 200, "others are not concerned"


async def test_concurrency_frees_when_a_client_leaves(world):
    world.secret(ann="a-key", dan="d-key")
    world.tenants({"name": "dan", "concurrency": 0})
    await world.becomes(429, "d-key")  # from now on it is counted: what began without a limit never is
    world.tenants({"name": "dan", "concurrency": 1})
    await world.becomes(200, "d-key")
    while (response := await world.ask("d-key", stream=True)).status == 429:  # the end of that is yet to be heard
        response.release()
        await asyncio.sleep(0.1)
    async with response:
        assert response.status == 200
        async with world.ask("d-key") as second:
            assert (second.status, second.headers.get("retry-after")) == (429, "1")
            assert (await second.json())["error"]["type"] == "concurrency"
        response.close()
    await world.becomes(200, "d-key")


async def test_the_picker_answers_for_the_models(world):
    headers = {"authorization": "Bearer a-key"}
    async with world.session.get(f"{URL}/v1/models", headers=headers) as response:
        assert (response.status, response.content_type) == (200, "application/json")
        assert [model["id"] for model in (await response.json())["data"]] == ["t", "alias"]
    async with world.session.get(f"{URL}/v1/models/gpt", headers=headers) as response:
        assert (response.status, (await response.json())["error"]["code"]) == (404, "model_not_found")
    async with world.session.get(f"{URL}/v1/models") as response:
        assert response.status == 401


async def test_without_the_secret_nobody_comes_in(world):
    world.secret()
    await world.becomes(401, "a-key")
    async with world.ask("a-key") as response:
        assert "no keys are set up here" in (await response.json())["error"]["message"]
    assert "holds no usable key" in (world.router.folder / "picker.log").read_text()
    world.secret(ann="a-key")
    await world.becomes(200, "a-key")
