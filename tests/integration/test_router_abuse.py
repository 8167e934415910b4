"""Clients that are broken, slow or hostile, over raw sockets against a real Envoy: what each is answered.

A scripted picker stands in: nothing here may depend on what it says, but for what it may see at all.
"""

import asyncio
import contextlib
import importlib.util
import json
from pathlib import Path

import psutil
import pytest
import pytest_asyncio

# pytest's importlib mode puts no test folder on sys.path.
_spec = importlib.util.spec_from_file_location("envoy_fakes", Path(__file__).with_name("envoy_fakes.py"))
fakes = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(fakes)
POD = fakes.POD

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="module")]

PATH = "/v1/completions"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(tmp_path_factory):
    world = fakes.World(tmp_path_factory.mktemp("envoy"), cache={"maxBytes": 1 << 20}, routerSelector="a=b")
    await world.start()
    yield world
    await world.stop()


@pytest_asyncio.fixture(loop_scope="module")
async def world(shared):
    shared.reset()
    yield shared
    assert shared.envoy.returncode is None, "Envoy is alive after all of this"
    async with shared.session.post(fakes.URL + PATH, data=b"{}") as response:
        assert response.status == 200


async def send(*pieces, pause=0.0, seconds=30.0, close=False):
    """Send bytes as they are; (status or None, head, body, whether Envoy closed the connection).

    Waits for that only with `close`: Envoy gives clients a second to take their answer.
    """
    reader, writer = await asyncio.open_connection(POD, 8000)
    with contextlib.suppress(ConnectionError):
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(pause)
    got, closed = b"", False
    with contextlib.suppress(TimeoutError, ConnectionError):
        async with asyncio.timeout(seconds):
            while data := await reader.read(1 << 16):
                got += data
                if _is_whole(got) and not close:
                    break
            closed = not data
    writer.transport.abort()
    head, _, body = got.partition(b"\r\n\r\n")
    return (int(head.split(b" ")[1]) if head else None), head.lower(), body, closed


def _is_whole(got):
    head, _, body = got.partition(b"\r\n\r\n")
    _, found, length = head.lower().partition(b"content-length: ")
    return len(body) >= int(length.split(b"\r\n")[0]) if found else body.endswith(b"0\r\n\r\n")


def request(*lines, method="POST", path=PATH, body=b"{}", version="HTTP/1.1", length=True):
    """A request with `connection: close`, so that an answer ends the connection."""
    head = [f"{method} {path} {version}", "host: t", "connection: close", *lines]
    if length:
        head.append(f"content-length: {len(body)}")
    return "\r\n".join(head).encode("latin-1") + b"\r\n\r\n" + body


SMUGGLED = b"0\r\n\r\nPOST /v1/models HTTP/1.1\r\nhost: evil\r\ncontent-length: 0\r\n\r\n"

TE = "transfer-encoding: "

MALFORMED = {
    "both lengths": (400, request(TE + "chunked", body=SMUGGLED)),
    "both lengths, the other order": (400, request("content-length: 5", TE + "chunked", body=SMUGGLED, length=False)),
    "two lengths": (400, request("content-length: 7")),
    "a list of lengths": (400, request("content-length: 2, 2", length=False)),
    "a signed length": (400, request("content-length: +2", length=False)),
    "a negative length": (400, request("content-length: -2", length=False)),
    "a hexadecimal length": (400, request("content-length: 0x2", length=False)),
    "an endless length": (400, request("content-length: 99999999999999999999999", length=False)),
    "chunked twice": (501, request(TE + "chunked, chunked", body=SMUGGLED, length=False)),
    "chunked, not last": (501, request(TE + "chunked, identity", body=SMUGGLED, length=False)),
    "an unknown coding": (501, request(TE + "xchunked", body=SMUGGLED, length=False)),
    "a coding with a tab": (400, request("transfer-encoding:\x0bchunked", body=SMUGGLED, length=False)),
    "a chunk that is no number": (400, request(TE + "chunked", body=b"zz\r\n{}\r\n0\r\n\r\n", length=False)),
    "a negative chunk": (400, request(TE + "chunked", body=b"-2\r\n{}\r\n0\r\n\r\n", length=False)),
    "a huge chunk": (400, request(TE + "chunked", body=b"fffffffffffffffff\r\n{}\r\n", length=False)),
    "a space before the colon": (400, request("content-length : 2", length=False)),
    "a space in a name": (400, request("content length: 2")),
    "a header without colon": (400, request("nonsense")),
    "a nameless header": (400, request(": value")),
    "NUL in a value": (400, request("x-a: b\x00c")),
    "NUL in a name": (400, request("x\x00a: b")),
    "NUL in the path": (400, request(path="/v1/\x00models")),
    "no host": (400, b"POST /v1/completions HTTP/1.1\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}"),
    "no version": (426, b"POST /v1/completions\r\nhost: t\r\n\r\n"),
    "an unknown version": (426, request(version="HTTP/9.9")),
    "an unknown method": (400, request(method="BREW")),
    "not HTTP": (400, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 64),
    "HTTP/2 without asking": (400, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"),
    "long headers": (431, request("x-a: " + "b" * 70_000)),
    "many headers": (431, request(*(f"x-{number}: b" for number in range(200)))),
}


async def test_malformed_requests_reach_nobody(world):
    answers = await asyncio.gather(*(send(sent, close=True) for _, sent in MALFORMED.values()))
    said = {name: (status, closed) for name, (status, _, _, closed) in zip(MALFORMED, answers, strict=True)}
    assert said == {name: (status, True) for name, (status, _) in MALFORMED.items()}
    assert world.picker.requests == []
    assert not any(engine.requests for engine in world.engines.values())


@pytest.mark.parametrize(
    ("sent", "header", "body"),
    [
        (request("x-a: b\r\n c: d"), ("x-a", "b c: d"), b"{}"),
        (request("x-a: b\rx-manta-way: cache"), ("x-a", "bx-manta-way: cache"), b"{}"),
        (request("host: evil"), ("host", "t,evil"), b"{}"),
        (request(TE + "chunked", body=b"1\r\n{}\r\n0\r\n\r\n", length=False), ("host", "t"), b"{"),
    ],
    ids=["a folded header", "a bare CR", "two hosts", "a chunk longer than it says"],
)
async def test_what_envoy_puts_right_is_one_harmless_request(world, sent, header, body):
    assert (await send(sent))[0] == 200
    (got,) = world.engines["a"].requests
    assert (got.headers[header[0]], got.body) == (header[1], body)
    assert "x-manta-way" not in got.headers


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("http://evil/metrics", 404),
        ("http://evil:9901/v1/load_lora_adapter", 404),
        ("/v1/completions/../../metrics", 404),
        ("/v1/completions/..%2f..%2fmetrics", 400),
        ("/v1/completions%2f..%2f..%2fmetrics", 400),
        ("/v1/completions/..\\..\\metrics", 404),
        ("/v1/completions;/../../metrics", 404),
        ("/v1/%63ompletions/../metrics", 404),
        ("//v1//metrics", 404),
        ("/v1/completions#/../metrics", 400),
        ("*", 400),
        ("v1/completions", 400),
    ],
)
async def test_paths_that_mean_something_else(world, path, status):
    assert (await send(request(path=path)))[0] == status
    assert not any(engine.requests for engine in world.engines.values())


async def test_an_absolute_address_is_only_a_path(world):
    status, _, _, _ = await send(request(path="http://evil/v1/completions?a=b"))
    assert status == 200
    (asked,) = world.picker.requests
    assert asked.path == "/pick/v1/completions?a=b"
    assert world.engines["a"].requests[0].path == "/v1/completions?a=b"


@pytest.mark.parametrize("method", ["CONNECT", "TRACE"])
async def test_methods_for_proxies_are_refused(world, method):
    path = "engine:8000" if method == "CONNECT" else PATH
    status, _, _, _ = await send(request(method=method, path=path, body=b"", length=False))
    assert status == {"CONNECT": 404, "TRACE": 405}[method]
    assert not any(engine.requests for engine in world.engines.values())


@pytest.mark.parametrize("upgrade", ["websocket", "h2c"])
async def test_no_connection_becomes_another_protocol(world, upgrade):
    lines = [f"upgrade: {upgrade}", "http2-settings: AAMAAABkAAQAAP__"]
    sent = request(*lines).replace(b"connection: close", b"connection: upgrade, http2-settings")
    status, head, _, _ = await send(sent, seconds=1)
    assert status in (200, 403)
    assert b"upgrade" not in head
    assert not any("upgrade" in got.headers for engine in world.engines.values() for got in engine.requests)


@pytest.mark.parametrize("announced", [True, False], ids=["announced", "chunked"])
async def test_bodies_have_bounds(world, announced):
    size = fakes.MAX_BODY + 1
    if announced:
        pieces = [request(f"content-length: {size}", body=b"", length=False), *[b"x" * 65536] * (size // 65536 + 1)]
    else:
        chunk = b"10000\r\n" + b"x" * 65536 + b"\r\n"
        pieces = [request("transfer-encoding: chunked", body=b"", length=False), *[chunk] * (size // 65536 + 1)]
    status, _, body, _ = await send(*pieces)
    assert status == 413
    assert json.loads(body)["error"]["code"] == "request_too_large"
    assert world.picker.requests == []


async def test_half_sent_requests_reach_nobody_and_end(world):
    halves = {
        "a byte": b"P",
        "half a head": request()[:40],
        "half a body": request("content-length: 100", length=False),
        "half a chunk": request("transfer-encoding: chunked", body=b"5\r\n{", length=False),
    }
    await asyncio.gather(*(send(sent, seconds=0.3) for sent in halves.values()))
    assert world.picker.requests == []
    heads = await asyncio.gather(*(send(halves[name], seconds=60, close=True) for name in ("a byte", "half a head")))
    assert [(status, closed) for status, _, _, closed in heads] == [(408, True), (408, True)]


async def test_requests_in_small_pieces_are_requests(world):
    sent = request()
    status, _, _, _ = await send(*[sent[at : at + 1] for at in range(len(sent))], pause=0.001)
    assert status == 200


async def test_pipelined_requests_are_answered_in_order(world):
    one = request().replace(b"connection: close\r\n", b"")
    reader, writer = await asyncio.open_connection(POD, 8000)
    writer.write(one * 3 + request(path="/metrics"))
    got = await reader.read(-1)
    writer.close()
    statuses = [part[:3] for part in got.split(b"HTTP/1.1 ")[1:]]
    assert statuses == [b"200"] * 3 + [b"404"]


async def test_ports_behind_the_router_are_not_reached_through_it(world):
    paths = ("/readyz", "/loads", "/usage", "/pick/v1/completions", "/stats", "/config_dump", "/health", "/metrics")
    hosts = ("picker", "127.0.0.1:9901", "cache")
    sent = [request(path=path, method="GET", body=b"", length=False) for path in paths]
    sent = [one.replace(b"host: t", f"host: {host}".encode()) for one in sent for host in hosts]
    assert {status for status, _, _, _ in await asyncio.gather(*map(send, sent))} == {404}
    assert world.picker.requests == []


async def test_a_client_that_does_not_read_holds_little_memory_and_its_engine(world):
    """Several streams of 24 MiB each for clients that read nothing: the engines are told to wait."""
    sent = 0

    async def floods(request, writer):
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        event = b"data: " + b"x" * 65528 + b"\n\n"
        for _ in range(384):
            writer.write(b"%x\r\n%b\r\n" % (len(event), event))
            await writer.drain()
            sent += len(event)
        writer.write(b"0\r\n\r\n")

    world.engines["a"].script = floods
    envoy = psutil.Process(world.envoy.pid)
    before = envoy.memory_info().rss
    connections = [await asyncio.open_connection(POD, 8000, limit=1024) for _ in range(8)]
    for _, writer in connections:
        writer.write(request())
    last = -1
    while sent != last or not sent:
        last = sent
        await asyncio.sleep(0.3)
    assert sent < 8 * 12 << 20
    assert envoy.memory_info().rss - before < 48 << 20
    for _, writer in connections:
        writer.transport.abort()
    await fakes.until(lambda: world.engines["a"].open == 0)


async def test_many_streams_at_once(world):
    """300 streams stay open together and all end well; thousands are tried by `make bench-router`."""
    go = asyncio.Event()

    async def waits(request, writer):
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        await go.wait()
        writer.write(b"9\r\ndata: 1\n\n\r\n0\r\n\r\n")

    world.engines["a"].script = waits
    streams = [asyncio.create_task(send(request(), seconds=120)) for _ in range(300)]
    try:
        await fakes.until(lambda: world.engines["a"].open == 300, seconds=60)
    except TimeoutError as error:
        found = {name: engine.open for name, engine in world.engines.items()}
        ended = [stream.result() for stream in streams if stream.done()]
        raise AssertionError(f"300 streams are not open at a, but {found}; ended: {ended[:3]}") from error
    go.set()
    answers = await asyncio.gather(*streams)
    assert all(status == 200 and body.endswith(b"0\r\n\r\n") for status, _, body, _ in answers)
