"""Serves `/healthz`, `/readyz` and `/metrics` from the operator's own event loop: an answer proves that it turns."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from manta_operator.controller import metrics
from manta_operator.controller.probes import Progress

METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


@asynccontextmanager
async def serving(progress: Progress, host: str, port: int) -> AsyncIterator[int]:
    """Serve on one address; yields the port, for those who asked for port 0.

    Raises:
        OSError: the address is taken or not ours.
    """

    async def healthz(_: web.Request) -> web.Response:
        return _verdict(progress.problems())

    async def readyz(_: web.Request) -> web.Response:
        return _verdict(progress.unready())

    async def numbers(_: web.Request) -> web.Response:
        return _closing(web.Response(body=metrics.exposition(), headers={"Content-Type": METRICS_TYPE}))

    app = web.Application()
    app.add_routes([web.get("/healthz", healthz), web.get("/readyz", readyz), web.get("/metrics", numbers)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


def _verdict(problems: tuple[str, ...]) -> web.Response:
    if problems:
        return _closing(web.Response(status=503, text="\n".join(problems) + "\n"))
    return _closing(web.Response(text="ok\n"))


def _closing(response: web.Response) -> web.Response:
    """Close the connection after it: kopf waits at its end for every task that began later, and that would be one."""
    response.force_close()
    return response
