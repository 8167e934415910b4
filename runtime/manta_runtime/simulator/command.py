"""`manta-runtime simulate`: start like vLLM (with its flags), answer like vLLM, end like vLLM."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from typing import TYPE_CHECKING

import click
from aiohttp import web

from manta_runtime.simulator.engine import Engine
from manta_runtime.simulator.server import Server
from manta_runtime.simulator.settings import Settings, SettingsError, parse

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger("manta.simulator")

# Uvicorn's, and so vLLM's: who keeps a connection open must use it, or lose it, within this many seconds.
_KEEP_ALIVE_SECONDS = 5
# Sockets of a killed engine stay open until their clients leave, but a simulator need not stay for ever.
_SILENCE_SECONDS = 300.0


@click.command(context_settings={"ignore_unknown_options": True, "help_option_names": ["-h", "--help"]})
@click.argument("flags", nargs=-1, type=click.UNPROCESSED)
def simulate(flags: tuple[str, ...]) -> None:
    """Simulate vLLM's server: its flags, endpoints, metrics and way of ending, with a latency model for a model.

    For load tests only; its answers are made up. Flags of its own: --simulate-startup-seconds, --simulate-speed,
    --simulate-kv-cache-tokens, --simulate-answer-tokens, --simulate-journal.
    """
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s simulator: %(message)s")
    try:
        settings = parse(flags, os.environ)
        journal = _open(settings)
    except SettingsError as error:
        raise click.UsageError(str(error)) from error
    import uvloop  # noqa: PLC0415 - --help need not wait for it

    try:
        uvloop.run(run(settings, journal))
    except CannotListen as error:
        raise click.ClickException(str(error)) from error


class CannotListen(Exception):
    """The address cannot be had; the message says why."""


async def run(settings: Settings, journal: int | None) -> None:
    """Serve until SIGTERM or SIGINT, then end as vLLM does; `journal` is an open file. Raises CannotListen."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    log.warning("this SIMULATES vLLM %s on %s:%d: answers are made up", settings.model, settings.host, settings.port)
    if await _within(stop, settings.startup_seconds):
        return
    server = Server(settings, Engine(settings), journal)
    server.engine.start()
    runner = web.AppRunner(
        server.application(),
        access_log=None,
        handler_cancellation=True,  # a client that leaves aborts its request, as in vLLM
        keepalive_timeout=_KEEP_ALIVE_SECONDS,
        shutdown_timeout=1,
    )
    await runner.setup()
    site = web.TCPSite(runner, settings.host, settings.port, backlog=2048)
    try:
        await _listen(settings, site)
        await stop.wait()
        await _end(settings, server, site)
    finally:
        await runner.cleanup()


async def _listen(settings: Settings, site: web.TCPSite) -> None:
    try:
        await site.start()
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        where = f"{settings.host}:{settings.port}"
        raise CannotListen(f"cannot listen on {where}: {reason}; give another --host or --port") from error


async def _end(settings: Settings, server: Server, site: web.TCPSite) -> None:
    """Let vLLM's shutdown take its course, as it was measured (docs/adr/0012)."""
    if settings.shutdown_timeout:
        log.info("shutdown: finishing %d requests, %g s at most", server.unanswered, settings.shutdown_timeout)
        server.closing = True
        try:
            async with asyncio.timeout(settings.shutdown_timeout):
                await server.engine.idle()
                await _until(lambda: not server.unanswered)
        except TimeoutError:
            log.warning("shutdown: the timeout has passed")
    # Nobody is told: connections stay open and say nothing more, until their clients leave.
    server.engine.kill()
    await site.stop()
    if server.unanswered:
        log.warning("shutdown: %d requests are left without a word", server.unanswered)
        try:
            async with asyncio.timeout(_SILENCE_SECONDS):
                await _until(lambda: not server.unanswered)
        except TimeoutError:
            log.warning("shutdown: leaving them")


async def _until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - requests end in many places, none of which cares
        await asyncio.sleep(0.02)


async def _within(event: asyncio.Event, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            return await event.wait()
    except TimeoutError:
        return False


def _open(settings: Settings) -> int | None:
    if settings.journal is None:
        return None
    try:
        return os.open(settings.journal, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    except OSError as error:
        raise SettingsError(f"--simulate-journal={settings.journal} cannot be written: {error.strerror}") from error
