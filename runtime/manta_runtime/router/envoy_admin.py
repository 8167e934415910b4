"""Envoy's admin interface, asked by the launcher alone, and the little of it that others may see.

The kubelet: is Envoy alive? The picker: which version of the file of endpoints has it?

The interface can end Envoy and has no password, so it is a Unix socket in the launcher's scratch folder.
"""

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Self

import aiohttp
from aiohttp import web

from manta_runtime.router import bootstrap
from manta_runtime.router.config import ConfigError

_TIMEOUT = aiohttp.ClientTimeout(total=2)
_ALIVE = ("LIVE", "DRAINING")  # others: still starting


class Admin:
    """Asks one Envoy. Every question raises aiohttp.ClientError or TimeoutError if Envoy does not answer."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket

    async def __aenter__(self) -> Self:
        connector = aiohttp.UnixConnector(path=str(self._socket))
        self._session = aiohttp.ClientSession("http://envoy", connector=connector, timeout=_TIMEOUT)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def state(self) -> str:
        """Return LIVE, DRAINING, INITIALIZING or PRE_INITIALIZING."""
        async with self._session.get("/ready") as response:
            return (await response.text()).strip()

    async def fail_health_checks(self) -> None:
        """Let /healthz of the traffic port fail from now on; requests are still served."""
        async with self._session.post("/healthcheck/fail") as response:
            response.raise_for_status()

    async def requests(self) -> tuple[int, int]:
        """Return how many requests of clients are in flight, and how many have gone to engines since Envoy started."""
        found = await self._stats()
        in_flight, sent = bootstrap.STATS
        return int(found.get(in_flight, 0)), int(found.get(sent, 0))

    async def version(self) -> str:
        """Return the version of the endpoints that Envoy has, as the file says it; empty before it has any."""
        found = await self._stats(filter=f"^{re.escape(bootstrap.VERSION_STAT)}$")
        return str(found.get(bootstrap.VERSION_STAT, ""))

    async def _stats(self, **options: str) -> dict[str, str | int]:
        async with self._session.get("/stats", params={"format": "json", **options}) as response:
            stats = await response.json(content_type=None)
        return {stat["name"]: stat["value"] for stat in stats["stats"] if "name" in stat}


@asynccontextmanager
async def serve_health(admin: Admin, pod_ip: str, port: int) -> AsyncIterator[None]:
    """Serve GET /healthz on the pod's address meanwhile: 200 while Envoy's main thread answers, 503 otherwise.

    And GET /endpoints, for the picker: the version of the endpoints that Envoy has.

    Raises:
        ConfigError: the port is taken.
    """

    async def healthz(_: web.Request) -> web.Response:
        state = await admin.state()
        return web.Response(status=200 if state in _ALIVE else 503, text=f"{state}\n")

    async def endpoints(_: web.Request) -> web.Response:
        return web.Response(text=await admin.version())

    application = web.Application()
    application.router.add_get("/healthz", _answering(healthz))
    application.router.add_get("/endpoints", _answering(endpoints))
    runner = web.AppRunner(application, access_log=None, handle_signals=False, shutdown_timeout=0)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, pod_ip, port).start()
        except OSError as error:
            raise ConfigError(f"cannot listen on healthPort: {error}") from error
        yield
    finally:
        await runner.cleanup()


def _answering(handler: Callable[[web.Request], Awaitable[web.Response]]) -> Callable[..., Awaitable[web.Response]]:
    """503 where Envoy does not answer."""

    async def answer(request: web.Request) -> web.Response:
        try:
            return await handler(request)
        except (aiohttp.ClientError, TimeoutError) as error:
            return web.Response(status=503, text=f"Envoy does not answer: {type(error).__name__} {error}\n")

    return answer
