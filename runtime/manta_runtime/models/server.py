"""The fetch's HTTP server on the pod's control port: GET /fetch, /healthz, /metrics while it runs."""

from __future__ import annotations

import logging
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from aiohttp import web
from prometheus_client import CollectorRegistry, Gauge, generate_latest

from manta_runtime.models.progress import as_json

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from manta_runtime.models.progress import Progress

log = logging.getLogger("manta.fetch")


@asynccontextmanager
async def progress_server(progress: Progress, host: str, port: int) -> AsyncIterator[None]:
    """Serve the progress while the context is open; a port that is taken costs a warning, not the fetch."""
    runner = web.AppRunner(_application(progress), access_log=None, shutdown_timeout=0.2)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as error:
            log.warning("no progress over HTTP: cannot listen on %s:%s: %s", host, port, error.strerror)
        yield
    finally:
        await runner.cleanup()


def _application(progress: Progress) -> web.Application:
    registry = _metrics(progress)

    async def healthz(_: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def fetch(_: web.Request) -> web.Response:
        return web.json_response(as_json(progress.look()))

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=generate_latest(registry), content_type="text/plain", charset="utf-8")

    application = web.Application()
    application.add_routes([web.get("/healthz", healthz), web.get("/fetch", fetch), web.get("/metrics", metrics)])
    return application


def _metrics(progress: Progress) -> CollectorRegistry:
    registry = CollectorRegistry()
    help_of = {
        "manta_engine_fetch_bytes": "Bytes of the model that are in the cache.",
        "manta_engine_fetch_total_bytes": "Size of the model in bytes; 0 until it is known.",
        "manta_engine_fetch_seconds": "Seconds since the fetch began.",
    }
    gauges = {name: Gauge(name, text, registry=registry) for name, text in help_of.items()}
    gauges["manta_engine_fetch_bytes"].set_function(lambda: progress.look().bytes)
    gauges["manta_engine_fetch_total_bytes"].set_function(lambda: progress.look().total)
    gauges["manta_engine_fetch_seconds"].set_function(lambda: progress.look().seconds)
    return registry
