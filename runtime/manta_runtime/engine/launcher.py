"""The launcher's life from settings to exit code: signals, the log, head or worker, and nothing left behind."""

from __future__ import annotations

import asyncio
import logging
import sys
from typing import TYPE_CHECKING

import aiohttp

from manta_runtime.engine.failure import EngineFailure
from manta_runtime.engine.head import make_client, run_head
from manta_runtime.engine.processes import adopt_orphans, kill_descendants
from manta_runtime.engine.settings import EngineSettings, SettingsError
from manta_runtime.engine.stop import Stop
from manta_runtime.engine.worker import run_worker

if TYPE_CHECKING:
    from collections.abc import Mapping

log = logging.getLogger("manta.engine")


def launch(settings: EngineSettings, environ: Mapping[str, str]) -> int:
    """Run this pod's launcher to its end and return the exit code of the container.

    0: drained as asked. 2: something is set up wrongly. Else the engine failed: the message is the last line.
    """
    _log_to_stderr(settings.rank)
    adopt_orphans()
    try:
        return asyncio.run(_run(settings, environ))
    except SettingsError as error:
        log.error("%s", error)  # noqa: TRY400 - people read this line; a traceback would hide it
        return 2
    except EngineFailure as error:
        log.error("%s", error)  # noqa: TRY400 - people read this line; a traceback would hide it
        return error.code
    finally:
        kill_descendants()


async def _run(settings: EngineSettings, environ: Mapping[str, str]) -> int:
    stop = Stop()
    stop.listen()
    # The box resolves names by replacing socket.getaddrinfo: only the threaded resolver asks it.
    connector = aiohttp.TCPConnector(resolver=aiohttp.ThreadedResolver(), use_dns_cache=False, force_close=True)
    async with aiohttp.ClientSession(connector=connector) as session:
        if settings.is_head:
            code = await run_head(settings, environ, stop, make_client(session, settings, environ))
        else:
            code = await run_worker(settings, environ, stop, session)
    log.info("stopped")
    return code


def _log_to_stderr(rank: int) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter(f"%(asctime)s manta rank {rank}: %(message)s", "%H:%M:%S"))
    logger = logging.getLogger("manta")
    logger.handlers[:] = [handler]
    logger.setLevel(logging.INFO)
    logger.propagate = False
