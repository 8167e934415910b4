"""The Service proxy with real connections: whom they reach, how they end, and what a port that is taken does."""

import asyncio
import contextlib
import os
import socket
import time

import psutil
import pytest

from manta_operator.box.addresses import AddressPool
from manta_operator.box.apiserver.server import ApiServer
from manta_operator.box.proxy import ServiceProxy

pytestmark = pytest.mark.integration
NETWORK = f"{os.getpid() % 50 + 200}"  # several runs of these tests may go on at once
PORT = 18080
SECONDS = 30


class World:
    """A Service `web` in a real store, backends by name, and the proxy."""

    def __init__(self):
        server = ApiServer(token="t", service_addresses=AddressPool(f"127.2.{NETWORK}", 1))
        self.cluster = server.cluster
        self.proxy = ServiceProxy(self.cluster)
        self.servers = []

    async def backend(self, serve):
        """Listen; the address."""
        server = await asyncio.start_server(serve, f"127.3.{NETWORK}.{len(self.servers) + 1}", 0)
        self.servers.append(server)
        return server.sockets[0].getsockname()

    def service(self, name="web"):
        spec = {"ports": [{"name": "http", "port": PORT}]}
        meta = {"name": name, "namespace": "default"}
        return self.cluster.create({"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": spec})["spec"][
            "clusterIP"
        ]

    async def endpoints(self, *addresses, name="web", **conditions):
        """Make these the Service's endpoints, until the proxy knows: one slice each, since their ports differ."""
        for old in self.cluster.list("EndpointSlice", "default"):
            self.cluster.delete("EndpointSlice", "default", old["metadata"]["name"])
        for number, (host, port) in enumerate(addresses):
            labels = {"kubernetes.io/service-name": name}
            self.cluster.create(
                {
                    "apiVersion": "discovery.k8s.io/v1",
                    "kind": "EndpointSlice",
                    "metadata": {"name": f"{name}-{number}", "namespace": "default", "labels": labels},
                    "addressType": "IPv4",
                    "endpoints": [{"addresses": [host], "conditions": {"ready": True, **conditions}}],
                    "ports": [{"name": "http", "port": port, "protocol": "TCP"}],
                }
            )
        await until(lambda: self._known() == [*addresses])

    def _known(self):
        """Where the proxy believes the endpoints to be."""
        slices = sorted(self.proxy._slices.values(), key=lambda each: each["metadata"]["name"])
        return [(each["endpoints"][0]["addresses"][0], each["ports"][0]["port"]) for each in slices]

    async def connect(self, address):
        async with asyncio.timeout(SECONDS):
            while True:
                try:
                    return await asyncio.open_connection(address, PORT)
                except ConnectionRefusedError:
                    await asyncio.sleep(0.01)

    async def ask(self, address):
        """What a new connection says first; nothing if it is cut."""
        reader, writer = await self.connect(address)
        try:
            return (await asyncio.wait_for(reader.read(100), SECONDS)).decode()
        except ConnectionResetError:
            return ""
        finally:
            writer.close()


async def until(holds, seconds=SECONDS):
    deadline = time.monotonic() + seconds
    while not (result := holds()):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)
    return result


def listened_on(address):
    """Asked without connecting."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, PORT))
            probe.listen()
        except OSError:
            return True
        return False


def says(word):
    async def serve(_, writer):
        writer.write(word.encode())
        writer.close()

    return serve


async def echo(reader, writer):
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.write(b"the end")
        writer.close()


@pytest.fixture
async def world():
    world = World()
    running = asyncio.create_task(world.proxy.run())
    world.running = running
    yield world
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    for server in world.servers:
        server.close()
    await asyncio.sleep(0.02)


async def test_connections_take_turns_and_pass_over_a_backend_that_refuses(world):
    address = world.service()
    one, two = await world.backend(says("one")), await world.backend(says("two"))
    await world.endpoints(one, two, (f"127.3.{NETWORK}.99", 9))
    answers = [await world.ask(address) for _ in range(12)]
    assert {*answers} == {"one", "two"}
    assert min(answers.count("one"), answers.count("two")) >= 4


async def test_nobody_there_cuts_the_client_at_once(world):
    address = world.service()
    reader, writer = await world.connect(address)
    started = time.monotonic()
    with pytest.raises(ConnectionResetError):
        await asyncio.wait_for(reader.read(), SECONDS)
    assert time.monotonic() - started < 5
    writer.close()


async def test_an_endpoint_that_leaves_serves_when_no_other_is_ready(world):
    address = world.service()
    await world.endpoints(await world.backend(says("leaving")), ready=False, serving=True, terminating=True)
    assert await world.ask(address) == "leaving"
    await world.endpoints(await world.backend(says("never")), ready=False, serving=False, terminating=True)
    assert await world.ask(address) == ""


async def test_a_client_that_has_said_all_still_gets_its_answer(world):
    address = world.service()
    await world.endpoints(await world.backend(echo))
    reader, writer = await world.connect(address)
    writer.write(b"x" * 300_000)
    writer.write_eof()
    assert await asyncio.wait_for(reader.read(), SECONDS) == b"x" * 300_000 + b"the end"
    writer.close()


async def test_a_backend_that_has_said_all_still_hears_the_client(world):
    heard = asyncio.get_running_loop().create_future()

    async def serve(reader, writer):
        writer.write(b"bye")
        writer.write_eof()
        heard.set_result(await reader.read())
        writer.close()

    address = world.service()
    await world.endpoints(await world.backend(serve))
    reader, writer = await world.connect(address)
    assert await asyncio.wait_for(reader.read(), SECONDS) == b"bye"
    writer.write(b"still here")
    writer.write_eof()
    assert await asyncio.wait_for(heard, SECONDS) == b"still here"
    writer.close()


async def test_a_backend_that_breaks_off_is_not_taken_for_an_orderly_end(world):
    async def serve(_, writer):
        writer.write(b"half an ans")
        await writer.drain()
        await asyncio.sleep(0.05)
        held = writer.get_extra_info("socket")
        held.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        writer.transport.abort()

    address = world.service()
    await world.endpoints(await world.backend(serve))
    reader, writer = await world.connect(address)
    with pytest.raises(ConnectionResetError):
        await asyncio.wait_for(reader.read(), SECONDS)
    writer.close()


async def test_a_slow_reader_holds_the_sender_up_instead_of_filling_memory(world):
    sent = 0

    async def serve(_, writer):
        nonlocal sent
        with contextlib.suppress(ConnectionError):
            while sent < 256 << 20:
                writer.write(bytes(1 << 20))
                await writer.drain()
                sent += 1 << 20
        writer.close()

    address = world.service()
    await world.endpoints(await world.backend(serve))
    before = psutil.Process().memory_info().rss
    reader, writer = await world.connect(address)
    held_at = -1
    while held_at != sent or not sent:
        held_at = sent
        await asyncio.sleep(0.5)
    assert held_at < 64 << 20
    assert psutil.Process().memory_info().rss - before < 48 << 20
    got = 0
    while data := await asyncio.wait_for(reader.read(1 << 20), SECONDS):
        got += len(data)
    assert got == sent == 256 << 20
    writer.close()


async def test_live_connections_stay_when_endpoints_change_or_the_service_goes(world):
    address = world.service()
    await world.endpoints(await world.backend(echo))
    reader, writer = await world.connect(address)
    writer.write(b"a")
    assert await asyncio.wait_for(reader.readexactly(1), SECONDS) == b"a"
    await world.endpoints(await world.backend(says("other")))
    assert await world.ask(address) == "other"
    world.cluster.delete("Service", "default", "web")
    await until(lambda: not listened_on(address))
    writer.write(b"b")
    assert await asyncio.wait_for(reader.readexactly(1), SECONDS) == b"b"
    writer.close()


async def test_a_port_that_is_taken_is_told_on_the_service_and_taken_when_free(world, monkeypatch):
    monkeypatch.setattr("manta_operator.box.proxy._RETRY", 0.1)
    taken = await asyncio.start_server(says("squatter"), f"127.2.{NETWORK}.1", PORT)
    assert world.service() == f"127.2.{NETWORK}.1"
    await world.endpoints(await world.backend(says("ours")))
    [event] = await until(lambda: world.cluster.list("Event", "default"))
    assert (event["type"], event["reason"]) == ("Warning", "PortNotAvailable")
    assert (event["involvedObject"]["kind"], event["involvedObject"]["name"]) == ("Service", "web")
    assert f"(pid {os.getpid()})" in event["message"]
    assert f"127.2.{NETWORK}.1:{PORT}" in event["message"]
    taken.close()
    await until(lambda: world.proxy._servers)
    assert await world.ask(f"127.2.{NETWORK}.1") == "ours"
    assert len(world.cluster.list("Event", "default")) == 1


async def test_the_end_of_the_proxy_cuts_what_is_open(world):
    began, ended = asyncio.Event(), asyncio.get_running_loop().create_future()

    async def serve(reader, writer):
        try:
            await reader.readexactly(5)
            began.set()
            await reader.read()
            ended.set_result("orderly")
        except ConnectionResetError:
            ended.set_result("reset")
        writer.close()

    address = world.service()
    await world.endpoints(await world.backend(serve))
    reader, writer = await world.connect(address)
    writer.write(b"hello")
    await asyncio.wait_for(began.wait(), SECONDS)
    world.running.cancel()
    with pytest.raises(ConnectionResetError):
        await asyncio.wait_for(reader.read(), SECONDS)
    assert await asyncio.wait_for(ended, SECONDS) == "reset"
    writer.close()
    await until(lambda: not listened_on(address))
