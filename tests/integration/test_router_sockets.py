"""What Envoy and its picker say to each other is between the two; each may start first, and again."""

import asyncio
import copy
import hashlib
import importlib.util
import signal
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio

# pytest's importlib mode puts no test folder on sys.path.
_spec = importlib.util.spec_from_file_location("router_fakes", Path(__file__).with_name("router_fakes.py"))
fakes = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(fakes)
POD, URL = fakes.POD, fakes.URL
ENGINE, OTHER = f"{fakes.NET}.10", f"{fakes.NET}.20"

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory):
    """(router, session): one replica; keys are checked, so that nothing is served without the picker."""
    folder = tmp_path_factory.mktemp("router")
    api, engine = fakes.FakeApiServer(), fakes.FakeEngine("a", ENGINE)
    async with AsyncExitStack() as stack:
        for server in (api, engine):
            await server.start()
            stack.push_async_callback(server.stop)
        session = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=30), headers={"authorization": "Bearer sk-manta-of-a-test"}
        )
        await stack.enter_async_context(session)
        keys = folder / "keys"
        keys.mkdir()
        digest = hashlib.sha256(b"sk-manta-of-a-test").hexdigest()
        (keys / "team").write_text(f"sha256:{digest}\n")
        cache = {"maxBytes": 1 << 20}
        router = fakes.Router(folder, session, api.ca, auth=True, keysDir=str(keys), cache=cache)
        await router.start()
        stack.push_async_callback(router.stop)
        api.set("a", ENGINE)
        await router.usable(1)
        yield router, session


async def ask(session, status=200):
    async with session.post(f"{URL}/v1/completions", json={"model": "t", "prompt": "x"}) as response:
        assert response.status == status, await response.text()
        return await response.json()


async def test_the_pickers_port_answers_no_questions_of_envoys(world):
    router, session = world
    assert (await ask(session))["replica"] == "a"
    for path in ("/pick/v1/completions", "/pick/", "/v1/completions"):
        async with session.post(f"http://{POD}:9002{path}", json={"model": "t"}) as response:
            assert response.status == 404, path
            assert "/readyz, /livez, /metrics, /loads, /usage" in await response.text()
    assert await router.status("/readyz", 200, f"http://{POD}:9002")


@pytest.mark.parametrize("port", [9003, 9004])
async def test_ends_and_cached_answers_have_no_port(world, port):
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(POD, port)


async def test_the_sockets_are_their_users_alone_and_answer_nothing_else(world):
    router, _ = world
    found = {path.name: path for path in (router.folder / "run").iterdir() if path.is_socket()}
    assert {name: oct(path.stat().st_mode & 0o777) for name, path in found.items()} == {
        "pick.sock": "0o600", "ends.sock": "0o600", "cache.sock": "0o600",
    }  # fmt: skip
    async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(found["pick.sock"]))) as asking:
        for path in ("/readyz", "/metrics", "/loads", "/usage", "/pick"):
            async with asking.get(f"http://picker{path}") as response:
                assert (response.status, await response.text()) == (404, "served here: /pick\n")


async def test_a_new_picker_takes_over_while_the_old_one_ends(world):
    router, session = world
    new = copy.copy(router)
    new.pod = OTHER  # no two pickers listen on one port
    old = router.picker
    old.send_signal(signal.SIGTERM)
    await fakes.until(lambda: router.status("/readyz", 503, f"http://{POD}:9002"))
    new.picker = await new.run("picker")
    try:
        await fakes.until(lambda: router.status("/readyz", 200, f"http://{OTHER}:9002"))
        await asyncio.gather(*(ask(session) for _ in range(20)))
        old.send_signal(signal.SIGKILL)
        await old.wait()
        await asyncio.gather(*(ask(session) for _ in range(20)))
        asked = await asked_of(session, OTHER)
        assert asked >= 20, "all of the last, at least"
    finally:
        new.picker.kill()
        await new.picker.wait()
    assert (router.folder / "run" / "pick.sock").is_socket(), "left behind"
    router.picker = await router.run("picker")
    await router.wait()
    await router.usable(1)
    assert (await ask(session))["replica"] == "a"


async def asked_of(session, pod):
    async with session.get(f"http://{pod}:9002/metrics") as response:
        lines = (await response.text()).splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith("manta_router_decision_seconds_count"))


@pytest.mark.parametrize("first", ["envoy", "picker"])
async def test_each_of_the_two_may_start_first(world, first):
    router, session = world
    await router.stop()
    for path in (router.folder / "run").iterdir():
        path.unlink()
    if first == "envoy":
        router.envoy = await router.run("envoy")
        await fakes.until(lambda: router.status("/healthz", 200))
        asked = asyncio.create_task(ask(session))
        router.picker = await router.run("picker")
        assert (await asked)["replica"] == "a", "held until the picker was there"
    else:
        router.picker = await router.run("picker")
        await fakes.until(lambda: router.status("/readyz", 200, f"http://{POD}:9002"))
        router.envoy = await router.run("envoy")
    await router.wait()
    assert (await ask(session))["replica"] == "a"
