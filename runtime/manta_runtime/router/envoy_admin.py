"""Envoy's admin interface, asked by the launcher alone, and the little of it that the kubelet may see: is Envoy alive?

The interface can end Envoy and has no password, so it is a Unix socket in the launcher's scratch folder.
"""

from collections.abc import AsyncIterator
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
        async with self._session.get("/stats", params={"format": "json"}) as response:
            stats = await response.json(content_type=None)
        found = {stat["name"]: int(stat["value"]) for stat in stats["stats"] if "name" in stat}
        in_flight, sent = bootstrap.STATS
        return found.get(in_flight, 0), found.get(sent, 0)


@asynccontextmanager
async def serve_health(admin: Admin, pod_ip: str, port: int) -> AsyncIterator[None]:
    """Serve GET /healthz on the pod's address meanwhile: 200 while Envoy's main thread answers, 503 otherwise.

    Raises:
        ConfigError: the port is taken.
    """

    async def healthz(_: web.Request) -> web.Response:
        try:
            state = await admin.state()
        except (aiohttp.ClientError, TimeoutError) as error:
            return web.Response(status=503, text=f"Envoy does not answer: {type(error).__name__} {error}\n")
        return web.Response(status=200 if state in _ALIVE else 503, text=f"{state}\n")

    application = web.Application()
    application.router.add_get("/healthz", healthz)
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
