"""An HTTPS proxy between the operator and its API server that answers wrongly, late or not at all, as it is told.

A `Fault` says which requests it meets and what happens to them; `Proxy` applies the first that matches, lets everything
else through (watches as they stream) and keeps a log of what came by.
"""

import asyncio
import json
import re
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import trustme
from aiohttp import web
from chaos_api import Api

from manta_operator.box.state import write_kubeconfig

HOP = {"connection", "transfer-encoding", "content-encoding", "content-length", "host", "keep-alive"}
GONE = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 410, "reason": "Expired",
        "message": "too old resource version"}  # fmt: skip


@dataclass
class Fault:
    """What happens to requests whose "METHOD path?query" matches `where`, at most `times` of them.

    `code` answers instead of the server; `after` lets the server do it first. `seconds` delays. `cut` ends the
    connection without an answer. `watch` changes a stream of events: "gone" ends it with 410, "torn" in mid-line.
    """

    where: str
    times: float = float("inf")
    code: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    message: str = "a fault was injected"
    seconds: float = 0.0
    after: bool = False
    cut: bool = False
    watch: str = ""
    met: list[float] = field(default_factory=list)
    """When it happened, monotonic."""

    def meets(self, line: str) -> bool:
        """Whether it happens to this request."""
        return len(self.met) < self.times and re.search(self.where, line) is not None


@dataclass(frozen=True)
class Passed:
    """A request that came by; times are monotonic, code 0 is none."""

    began: float
    line: str
    code: int


class Proxy:
    """Listens while it is started; `faults` may be changed at any time, `token` is the one it takes from clients."""

    def __init__(self, folder: Path, upstream: Path, token: str = "through-the-proxy") -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._ca = trustme.CA()
        self._api = Api(upstream)
        self._runner: web.AppRunner | None = None
        self._streams: set[asyncio.Task[Any]] = set()
        self.port = 0
        self.token = token
        self.kubeconfig = folder / "kubeconfig"
        self.faults: list[Fault] = []
        self.log: list[Passed] = []

    async def start(self) -> None:
        """Listen (again), on the same port."""
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._ca.issue_cert("127.0.0.1").configure_cert(tls)
        app = web.Application(client_max_size=1 << 24)
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, handler_cancellation=True)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port, ssl_context=tls).start()
        self.port = self._runner.addresses[0][1]
        self.write_kubeconfig(self.token)

    def write_kubeconfig(self, token: str) -> None:
        """Write what the operator reads: the proxy's address and a token."""
        write_kubeconfig(self._folder, f"https://127.0.0.1:{self.port}", self._ca.cert_pem.bytes().decode(), token)

    async def stop(self) -> None:
        """Listen no more, every connection cut."""
        for task in self._streams:
            task.cancel()
        await self._runner.cleanup()

    async def close(self) -> None:
        """The end."""
        await self.stop()
        await self._api.close()

    @property
    def streams(self) -> int:
        """How many watches run."""
        return len(self._streams)

    def cut_streams(self) -> int:
        """Cut all watches that run; how many."""
        tasks = list(self._streams)
        for task in tasks:
            task.cancel()
        return len(tasks)

    def add(self, where: str, **what: Any) -> Fault:
        """Let a fault happen from now on."""
        fault = Fault(where, **what)
        self.faults.append(fault)
        return fault

    def heal(self) -> None:
        """No faults from now on."""
        self.faults.clear()

    def seen(self, where: str) -> list[Passed]:
        """The requests that came by and match."""
        return [each for each in self.log if re.search(where, each.line)]

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        began, line = time.monotonic(), f"{request.method} {request.rel_url}"
        if request.headers.get("Authorization") != f"Bearer {self.token}":
            self.log.append(Passed(began, line, 401))
            return _status(401, "Unauthorized", {})
        fault = next((each for each in self.faults if each.meets(line)), None)
        if fault is None:
            return await self._through(request, began, line, "")
        fault.met.append(began)
        if fault.seconds:
            await asyncio.sleep(fault.seconds)
        if fault.code or fault.cut:
            if fault.after:
                await self._through(request, began, line, "", answer=False)
            self.log.append(Passed(began, line, fault.code))
            if fault.cut:
                request.transport.abort()
            return _status(fault.code or 500, fault.message, fault.headers)
        return await self._through(request, began, line, fault.watch)

    async def _through(
        self, request: web.Request, began: float, line: str, watch: str, *, answer: bool = True
    ) -> web.StreamResponse:
        headers = {name: value for name, value in request.headers.items() if name.lower() not in HOP}
        headers |= dict(self._api.authorization) | {"Accept-Encoding": "identity"}
        body, url = await request.read(), f"{self._api.url}{request.raw_path}"
        try:
            got = await self._api.raw(request.method, url, data=body or None, headers=headers)
        except aiohttp.ClientError as error:
            self.log.append(Passed(began, line, 502))
            return _status(502, str(error), {})
        async with got:
            self.log.append(Passed(began, line, got.status))
            kept = {name: value for name, value in got.headers.items() if name.lower() not in HOP}
            if "watch" in request.query and got.status == 200 and answer:
                return await self._stream(request, got, kept, watch)
            return web.Response(status=got.status, headers=kept, body=await got.read())

    async def _stream(
        self, request: web.Request, got: aiohttp.ClientResponse, headers: dict[str, str], watch: str
    ) -> web.StreamResponse:
        response = web.StreamResponse(headers=headers)
        await response.prepare(request)
        if watch == "gone":
            await response.write(json.dumps({"type": "ERROR", "object": GONE}).encode() + b"\n")
            return response
        pump = asyncio.create_task(_pump(got, response, torn=watch == "torn"))
        self._streams.add(pump)
        try:
            await pump
        except (asyncio.CancelledError, ConnectionError, aiohttp.ClientError):
            pump.cancel()
            if request.transport is not None:
                request.transport.abort()
        finally:
            self._streams.discard(pump)
        return response


async def _pump(got: aiohttp.ClientResponse, response: web.StreamResponse, *, torn: bool) -> None:
    async for chunk in got.content.iter_any():
        if torn:
            await response.write(chunk[: len(chunk) // 2])
            raise ConnectionResetError("torn in the middle of a line")
        await response.write(chunk)


def _status(code: int, message: str, headers: Mapping[str, str]) -> web.Response:
    reason = _REASONS.get(code, "InternalError")
    body = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason}
    return web.json_response(body | {"message": message}, status=code, headers=dict(headers))


_REASONS = {401: "Unauthorized", 403: "Forbidden", 409: "Conflict", 429: "TooManyRequests", 503: "ServiceUnavailable"}
