"""The way of a miss: from Envoy to the replicas its ticket names, the answer passed on as it comes and copied aside.

Streaming both ways: nothing of an answer is held back, a slow client slows its engine down, and one that leaves ends
its engine's work. While nothing has been sent on, the next replica is tried when one cannot be reached, breaks off or
has no room.
"""

import asyncio
import logging
import resource
import socket
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager

import aiohttp
from aiohttp import web
from multidict import CIMultiDict
from yarl import URL

from manta_runtime.router import openai_errors, usage
from manta_runtime.router.cache.copies import Copy
from manta_runtime.router.cache.response_cache import CACHE_HEADER, Destination, ResponseCache, Ticket
from manta_runtime.router.sockets import BACKLOG

log = logging.getLogger(__name__)

_OK = 200
_FULL = 503
_CONNECT_SECONDS = 2.0
_HEADER_BYTES = 1 << 16  # Envoy lets 60 KiB pass
# Below uvicorn's keep-alive of 5 s: were the engine the one to close an idle connection, requests would race with it.
_IDLE_SECONDS = 3.0
_HOP_BY_HOP = {"connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "host", "content-length"}
_HOP_BY_HOP |= {"proxy-authenticate", "proxy-authorization", "expect"}
_NEVER_ON = ("x-gateway-", "x-manta-", "x-envoy-")
_KIND = "service_unavailable"
_UNREACHABLE = (503, "the engine cannot be reached; retry", "engine_unreachable")
_LATE = (504, "the engine did not answer in time", "engine_timeout")
_FORGOTTEN = (503, "the router restarted while it passed this request on; retry", "router_restarted")
_BROKEN_OFF = (502, "the engine broke off the connection", "engine_disconnected")


def _ignore(_: str) -> None:
    """Nobody wants to know."""


class Proxy:
    """Forwards requests that have a ticket. `failed(address)` is told of replicas that cannot be reached."""

    def __init__(
        self,
        cache: ResponseCache,
        session: aiohttp.ClientSession,
        failed: Callable[[str], None] = _ignore,
        first_byte_seconds: float = 600,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._cache = cache
        self._session = session
        self._failed = failed
        self._first_byte_seconds = first_byte_seconds
        self._clock = clock

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer one request of Envoy's."""
        identity = request.headers.get("x-request-id", "")
        ticket = self._cache.ticket(identity, self._clock())
        if ticket is None:
            return _error(*_FORGOTTEN, headers={"retry-after": "1"})
        body = await request.read()
        try:
            return await self._first_that_answers(request, body, ticket)
        finally:
            self._cache.done(identity)

    async def _first_that_answers(self, request: web.Request, body: bytes, ticket: Ticket) -> web.StreamResponse:
        last, problem = len(ticket.destinations) - 1, _UNREACHABLE
        for number, destination in enumerate(ticket.destinations):
            try:
                upstream = await self._ask(request, body, destination)
            except (aiohttp.ClientError, TimeoutError) as error:
                log.info("no answer from %s: %s", destination.address, error)
                problem = _problem(error)
                if problem is not _LATE:
                    self._failed(destination.address)
                continue
            try:
                if upstream.status != _FULL or number == last:
                    return await self._pass_on(request, upstream, ticket, destination.revision)
            finally:
                upstream.close()  # for one that has ended: nothing
        return _error(*problem)

    async def _ask(self, request: web.Request, body: bytes, destination: Destination) -> aiohttp.ClientResponse:
        async with asyncio.timeout(self._first_byte_seconds):
            return await self._session.request(
                request.method,
                URL(f"http://{destination.address}{request.raw_path}", encoded=True),
                data=body or None,
                headers=_forwarded(request.headers),
                skip_auto_headers=("accept", "accept-encoding", "user-agent", "content-type"),
                allow_redirects=False,
            )

    async def _pass_on(
        self, request: web.Request, upstream: aiohttp.ClientResponse, ticket: Ticket, revision: str
    ) -> web.StreamResponse:
        headers = _forwarded(upstream.headers)
        headers.update({name: upstream.headers[name] for name in usage.HEADERS if name in upstream.headers})
        headers[CACHE_HEADER] = "miss"
        response = web.StreamResponse(status=upstream.status, reason=upstream.reason, headers=headers)
        response.content_length = upstream.content_length
        # What is encoded (nobody does it today) is encoded for this client alone.
        plain = upstream.status == _OK and "content-encoding" not in upstream.headers
        copy = self._cache.copy(ticket, upstream.headers.get("content-type", "")) if plain else None
        try:
            await response.prepare(request)
            await _stream(upstream, response, copy)
            if copy is not None:
                self._cache.keep(ticket, revision, copy, self._clock())
            await response.write_eof()
        except (aiohttp.ClientPayloadError, aiohttp.ClientConnectionError) as error:
            log.info("an answer broke off: %s", error)
            # The client must see that it is not whole: no end in HTTP's sense, just an end of the connection.
            if request.transport is not None:
                request.transport.abort()
        finally:
            if copy is not None:
                copy.close()
        return response


@asynccontextmanager
async def serve(
    cache: ResponseCache,
    listening: socket.socket,
    max_body: int,
    failed: Callable[[str], None] = _ignore,
    first_byte_seconds: float = 600,
) -> AsyncIterator[Proxy]:
    """Serve the proxy on a Unix socket; bodies beyond `max_body` bytes are refused.

    Nobody but Envoy may reach it: clients know their requests' ids, and so their tickets. A replica that has sent no
    headers after `first_byte_seconds` is given up, and the next one is asked.
    """
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # a stream holds two sockets, and streams are many
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=_IDLE_SECONDS)
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS)  # Envoy limits the rest
    async with aiohttp.ClientSession(
        connector=connector,
        timeout=timeout,
        auto_decompress=False,
        max_line_size=_HEADER_BYTES,
        max_field_size=_HEADER_BYTES,
    ) as session:
        proxy = Proxy(cache, session, failed, first_byte_seconds)
        application = web.Application(client_max_size=max_body)
        application.router.add_route("*", "/{path:.*}", proxy.answer)
        runner = web.AppRunner(
            application,
            access_log=None,
            handler_cancellation=True,
            shutdown_timeout=1,
            max_line_size=_HEADER_BYTES,
            max_field_size=_HEADER_BYTES,
        )
        await runner.setup()
        try:
            await web.SockSite(runner, listening, backlog=BACKLOG).start()
            yield proxy
        finally:
            await runner.cleanup()


async def _stream(upstream: aiohttp.ClientResponse, response: web.StreamResponse, copy: Copy | None) -> None:
    async for piece in upstream.content.iter_any():
        await response.write(piece)
        if copy is not None:
            copy.add(piece)


def _forwarded(headers: Mapping[str, str]) -> CIMultiDict[str]:
    """The headers that go on: not those of one connection, and not what the router's parts tell each other."""
    found: CIMultiDict[str] = CIMultiDict()
    for name, value in headers.items():
        lower = name.lower()
        if lower not in _HOP_BY_HOP and not lower.startswith(_NEVER_ON):
            found.add(name, value)
    return found


def _problem(error: Exception) -> tuple[int, str, str]:
    if isinstance(error, aiohttp.ClientConnectorError | aiohttp.ServerTimeoutError):
        return _UNREACHABLE
    return _LATE if isinstance(error, TimeoutError) else _BROKEN_OFF


def _error(status: int, message: str, code: str, headers: Mapping[str, str] | None = None) -> web.Response:
    body = openai_errors.body(message, kind=_KIND, code=code)
    return web.Response(status=status, body=body, headers=headers, content_type="application/json")
