"""The launcher's life from settings to exit code: signals, the log, head or worker, and nothing left behind."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

import aiohttp

from manta_runtime.engine.failure import EngineFailure
from manta_runtime.engine.head import run_head
from manta_runtime.engine.journal import Journal, place_of
from manta_runtime.engine.log_lines import secrets_of
from manta_runtime.engine.log_output import STDERR, LogHandler, Output
from manta_runtime.engine.model_revision import model_revision
from manta_runtime.engine.processes import adopt_orphans, kill_descendants
from manta_runtime.engine.restarts import note_end, note_start
from manta_runtime.engine.settings import EngineSettings, SettingsError
from manta_runtime.engine.stop import Stop
from manta_runtime.engine.vllm_client import make_client
from manta_runtime.engine.vllm_flags import values_of
from manta_runtime.engine.worker import run_worker

if TYPE_CHECKING:
    from collections.abc import Mapping

log = logging.getLogger("manta.engine")

_FLUSH_SECONDS = 5.0


def launch(settings: EngineSettings, environ: Mapping[str, str]) -> int:
    """Run this pod's launcher to its end and return the exit code of the container.

    0: drained as asked. 2: something is set up wrongly. Else the engine failed: the message is the last line.
    """
    journal = Journal(
        place_of(settings), note_start(settings.state_folder, settings.pod_name), model_revision(settings)
    )
    output = _open_log(settings, environ, journal)
    adopt_orphans()
    try:
        return asyncio.run(_run(settings, environ, journal))
    except (SettingsError, EngineFailure) as error:
        for cause in output.last_words.above() if settings.log_format == "text" else ():
            log.error("%s", cause)  # noqa: TRY400 - once more, where the kubelet looks
        log.error("%s", error)  # noqa: TRY400 - people read this line; a traceback would hide it
        note_end(settings.state_folder, settings.pod_name, str(error))
        if settings.log_format == "json":
            output.last_words.leave()
        return error.code if isinstance(error, EngineFailure) else 2
    finally:
        kill_descendants()
        output.close(_FLUSH_SECONDS)


async def _run(settings: EngineSettings, environ: Mapping[str, str], journal: Journal) -> int:
    stop = Stop()
    stop.listen()
    # The box resolves names by replacing socket.getaddrinfo: only the threaded resolver asks it.
    connector = aiohttp.TCPConnector(resolver=aiohttp.ThreadedResolver(), use_dns_cache=False, force_close=True)
    async with aiohttp.ClientSession(connector=connector) as session:
        if settings.is_head:
            code = await run_head(settings, environ, stop, make_client(session, settings, environ), journal)
        else:
            code = await run_worker(settings, environ, stop, session, journal)
    log.info("stopped")
    return code


def _open_log(settings: EngineSettings, environ: Mapping[str, str], journal: Journal) -> Output:
    output = Output(STDERR, settings.log_format, journal.place, lambda: journal.phase)
    output.hide(*secrets_of(environ, (*values_of(settings.vllm_flags, "--api-key"), settings.group_token)))
    journal.write_to(output)
    handler = LogHandler(output, f"rank {settings.rank}")
    # What libraries complain about belongs into the same log.
    logging.getLogger().handlers[:] = [handler]
    logger = logging.getLogger("manta")
    logger.handlers[:] = [handler]
    logger.setLevel(logging.INFO)
    logger.propagate = False
    if journal.past and journal.past.restarts:
        why = journal.past.last_end or "it was killed, or could not say why it ended"
        log.info("restart %d of this pod's engine; the run before: %s", journal.past.restarts, why)
    return output
