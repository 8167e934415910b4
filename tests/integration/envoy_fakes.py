"""A real Envoy with our configuration between a scripted picker and scripted engines; used by test_envoy_*.py.

Every script is a coroutine over a raw connection: it may answer late, in pieces cut anywhere, or hang up.
"""

import asyncio
import contextlib
import json
import os
import socket
import sys
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import msgpack
import msgspec

from manta_runtime.router import asking, bootstrap, sockets
from manta_runtime.router.config import parse
from manta_runtime.router.endpoints import FILE_NAME, EndpointsFile
from manta_runtime.router.membership import Endpoint
from manta_runtime.router.picker.completions import end_of

ENVOY = Path(sys.executable).with_name("envoy")
MAX_BODY = 2 << 20
BACKLOG = 2048  # as engines have it; with asyncio's 100, one that is slow to accept for a moment loses the others' SYN


def claim():
    """The first three octets of free addresses; the lock is a bound port, so the kernel releases it with us."""
    for number in range(1, 255):
        lock = socket.socket()
        try:
            lock.bind((f"127.6.{number}.254", 6443))
        except OSError:
            lock.close()
            continue
        lock.detach()  # held until this process ends
        return f"127.6.{number}"
    raise RuntimeError("254 test runs at once: no addresses are left")


NET = claim()
POD = f"{NET}.2"
URL = f"http://{POD}:8000"


@dataclass
class Request:
    method: str
    path: str
    headers: dict
    body: bytes


def answer(body=b"", status=200, kind="application/json", **headers):
    """The bytes of a whole HTTP answer; underscores in header names are dashes."""
    lines = [f"HTTP/1.1 {status} x", f"content-type: {kind}", f"content-length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


async def write(writer, *pieces, kind="text/event-stream", pause=0.0, end=True):
    """A chunked answer, each piece in a chunk (and a segment) of its own."""
    writer.write(f"HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ntransfer-encoding: chunked\r\n\r\n".encode())
    for piece in pieces:
        if piece:
            writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
        await writer.drain()
        await asyncio.sleep(pause)
    if end:
        writer.write(b"0\r\n\r\n")
    await writer.drain()


class Server:
    """Runs `script(request, writer)` for each request; a script that returns bytes has them written."""

    def __init__(self, host, port, script):
        self.host, self.port, self.script = host, port, script
        self.requests, self.open, self.left = [], 0, 0
        self.address = f"{host}:{port}"
        self._writers = set()

    async def start(self):
        self._server = await asyncio.start_server(self._serve, self.host, self.port, limit=64 << 20, backlog=BACKLOG)

    async def stop(self):
        """Like kill -9: nobody listens and every connection is reset."""
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        await asyncio.sleep(0)

    async def _serve(self, reader, writer):
        self._writers.add(writer)
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while (request := await self._read(reader)) is not None:
                self.requests.append(request)
                self.open += 1
                work = asyncio.ensure_future(self.script(request, writer))
                gone = asyncio.ensure_future(reader.read(1))  # nobody pipelines: it ends with the connection
                await asyncio.wait((work, gone), return_when=asyncio.FIRST_COMPLETED)
                self.open -= 1
                if not work.done():
                    self.left += 1
                    work.cancel()
                    break
                if work.exception() is not None:  # the connection broke while it wrote
                    break
                if isinstance(said := work.result(), bytes):
                    writer.write(said)
                reader = _Continued(await self._first(gone), reader)
        self._writers.discard(writer)
        writer.close()

    async def _first(self, gone):
        return await gone

    async def _read(self, reader):
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        except asyncio.IncompleteReadError:
            return None
        first, *lines = head.strip().split("\r\n")
        method, path, _ = first.split(" ")
        headers = {}
        for line in lines:
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        body = b""
        if headers.get("transfer-encoding") == "chunked":
            while size := int(await reader.readuntil(b"\r\n"), 16):
                body += (await reader.readexactly(size + 2))[:-2]
            await reader.readexactly(2)
        elif size := int(headers.get("content-length", 0)):
            body = await reader.readexactly(size)
        return Request(method, path, headers, body)


class AtSocket(Server):
    """The same at a socket of the picker's, for Envoy alone."""

    async def start(self):
        listening = sockets.listen(self.host, self.port)  # folder, name
        self._server = await asyncio.start_unix_server(self._serve, sock=listening, limit=64 << 20)


class _Continued:
    """A reader whose first byte was read already."""

    def __init__(self, first, reader):
        self._first, self._reader = first, reader

    async def readuntil(self, separator):
        first, self._first = self._first, b""
        return first + await self._reader.readuntil(separator)

    async def readexactly(self, size):
        return await self._reader.readexactly(size)

    async def read(self, size):
        return await self._reader.read(size)


class Ends:
    """The picker's end of Envoy's fluentd access log: `await one(id)` waits for the record of a request."""

    def __init__(self, run_dir):
        self.records, self._more, self._run_dir = {}, asyncio.Event(), run_dir

    async def start(self):
        listening = sockets.listen(self._run_dir, sockets.ENDS)
        self._server = await asyncio.start_unix_server(self._serve, sock=listening)

    async def stop(self):
        self._server.close()

    async def _serve(self, reader, writer):
        unpacker = msgpack.Unpacker()
        while data := await reader.read(1 << 16):
            unpacker.feed(data)
            for message in unpacker:
                for _, record in message[1]:
                    self.records[record["id"]] = msgspec.structs.asdict(end_of(record))
            self._more.set()
        writer.close()

    async def one(self, request, seconds=30):
        async with asyncio.timeout(seconds):
            while request not in self.records:
                self._more.clear()
                await self._more.wait()
        return self.records[request]


class World:
    """Everything: `say` is what the picker answers, `engines` by name (a, b, c) with a `script` each."""

    def __init__(self, folder, **config):
        self.folder = folder
        self.run_dir = folder / "run"  # Envoy hears of every change in it
        self.run_dir.mkdir()
        self.ends = Ends(self.run_dir)
        self.say = answer()
        self.picker = AtSocket(self.run_dir, sockets.PICK, self._picker_script)
        self.engines = {name: Server(f"{NET}.{number}", 8000, None) for number, name in enumerate("abc", start=10)}
        self.file = EndpointsFile(self.run_dir / FILE_NAME)
        text = {"deployment": "t", "namespace": "ns", "servedNames": ["t"], "selector": "a=b", "maxBodyBytes": MAX_BODY}
        self.config = parse(json.dumps({**text, **config}))
        self.reset()

    async def _picker_script(self, request, writer):
        return self.say if isinstance(self.say, bytes) else await self.say(request, writer)

    def reset(self):
        for name, engine in self.engines.items():
            engine.script, engine.requests, engine.left = says(name), [], 0
        self.picker.requests, self.picker.left = [], 0
        self.to("abc")

    def to(self, names, **headers):
        """The picker chooses these, the first one first."""
        hosts = ",".join(self.engines[name].address for name in names)
        self.say = answer(x_gateway_destination_endpoint=hosts, x_manta_replica=names[0], **headers)

    def known(self, names, draining=""):
        """What the picker writes for Envoy."""
        return [Endpoint(n, self.engines[n].address, "0", usable=n not in draining) for n in names]

    async def start(self):
        for server in (self.picker, self.ends, *self.engines.values()):
            await server.start()
        self.file.write(self.known("abc"))
        admin, file = self.folder / "admin", self.folder / "bootstrap.json"
        asking.TRIES = 4  # a second or two
        file.write_text(json.dumps(bootstrap.build(self.config, POD, admin, self.run_dir)))
        self.log = (self.folder / "envoy.log").open("wb")
        flags = ["--disable-hot-restart", "--concurrency", "1", "--file-flush-interval-msec", "50"]
        flags += ["--log-level", os.environ.get("MANTA_TEST_ENVOY_LOG", "warning")]
        self.envoy = await asyncio.create_subprocess_exec(
            ENVOY, "-c", str(file), *flags, stdout=self.log, stderr=self.log
        )
        key = {"authorization": "Bearer k"} if self.config.auth else None
        self.session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20), headers=key)
        async with asyncio.timeout(60):
            while not await self._healthy():
                assert self.envoy.returncode is None, (self.folder / "envoy.log").read_text()[-3000:]
                await asyncio.sleep(0.05)

    async def _healthy(self):
        with contextlib.suppress(aiohttp.ClientError):
            async with self.session.get(URL + "/healthz") as response:
                return response.status == 200
        return False

    async def stop(self):
        await self.session.close()
        if self.envoy.returncode is None:
            self.envoy.kill()
        await self.envoy.wait()
        self.log.close()
        for server in (self.picker, self.ends, *self.engines.values()):
            await server.stop()

    async def stat(self, name):
        """One of Envoy's counters."""
        connector = aiohttp.UnixConnector(path=str(self.folder / "admin"))
        params = {"filter": f"^{name}$", "format": "json"}
        session = aiohttp.ClientSession("http://envoy", connector=connector)
        async with session, session.get("/stats", params=params) as response:
            stats = (await response.json(content_type=None))["stats"]
        return next((int(stat["value"]) for stat in stats if stat.get("name") == name), None)

    def logged(self, request):
        """The JSON line of the access log on stdout; None while it is not written."""
        for line in (self.folder / "envoy.log").read_text().splitlines():
            if request in line and line.startswith("{"):
                return json.loads(line)
        return None


def says(name):
    """An engine that answers with its name."""

    async def script(request, writer):
        return answer(json.dumps({"replica": name}).encode())

    return script


async def until(check, seconds=30):
    """Wait until `check()` (a coroutine function or a plain one) is true; TimeoutError after `seconds`."""
    async with asyncio.timeout(seconds):
        while True:
            result = check()
            if await result if asyncio.iscoroutine(result) else result:
                return
            await asyncio.sleep(0.02)
