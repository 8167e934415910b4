"""A fetch from settings to exit code: the job in a thread; signals, progress lines and the HTTP server around it."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import threading
from contextlib import nullcontext, suppress
from typing import TYPE_CHECKING

from manta_runtime.engine.log_lines import mask, mask_addresses, secrets_of
from manta_runtime.models.adapters_told import Told, write_told
from manta_runtime.models.failure import RETRIED, STOPPED, FetchError, PermanentError
from manta_runtime.models.job import run_job, write_progress
from manta_runtime.models.log import log_to_stderr
from manta_runtime.models.progress import Progress
from manta_runtime.models.server import progress_server
from manta_runtime.models.staging import Staging

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractAsyncContextManager
    from typing import NoReturn

    from manta_runtime.models.adapters_told import ToldState
    from manta_runtime.models.files import Source
    from manta_runtime.models.settings import FetchSettings

log = logging.getLogger("manta.fetch")
_TELL_SECONDS = 2.0
_GRACE = 1.0  # seconds for the job to end after SIGTERM; what it has fetched is on the disk already


def run_fetch(settings: FetchSettings, environ: Mapping[str, str]) -> NoReturn:
    """Run the fetch and end the process: 0 complete, 1 given up, 3 nothing to be gained by a retry, 143 stopped."""
    lines = log_to_stderr(environ)
    code = asyncio.run(_run(settings, environ))
    if code not in (0, STOPPED):
        lines.leave_last_words()
    lines.close()
    # Not sys.exit: threads that hang in a read would be waited for.
    os._exit(code)


def connect(settings: FetchSettings, environ: Mapping[str, str]) -> Source:
    """Return the source of the settings; the libraries of the others are not loaded.

    Raises PermanentError when credentials or address cannot be used.
    """
    if settings.uri.scheme == "hf":
        from manta_runtime.models.hub import Hub  # noqa: PLC0415

        endpoint = (environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")
        if not endpoint.startswith(("http://", "https://")):
            raise PermanentError("HF_ENDPOINT must be the address of a hub, such as https://hub.example.com")
        token = environ.get("HF_TOKEN", "")
        if not token.isascii() or not token.isprintable() or " " in token:
            raise PermanentError(
                f"{settings.uri}: the key HF_TOKEN of {settings.asked.whose} is no token: it "
                "has characters that no token has, such as curly quotes, spaces or newlines. Make the Secret anew"
            )
        try:
            return Hub(settings.uri.name, settings.revision, endpoint, token, settings.parallel, settings.asked)
        except OSError as error:
            where = environ.get("SSL_CERT_FILE") or environ.get("SSL_CERT_DIR", "")
            raise PermanentError(f"the authorities' certificates cannot be read: {error}: check {where}") from error
    from manta_runtime.models.buckets import Bucket  # noqa: PLC0415

    return Bucket(settings.uri, environ, settings.asked)


class _Job:
    """The job's thread, and what it ended with."""

    def __init__(self, settings: FetchSettings, environ: Mapping[str, str], progress: Progress) -> None:
        self.stop = threading.Event()
        self.ended = asyncio.Event()
        self.error: BaseException | None = None
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._work, args=(settings, environ, progress), daemon=True)
        self._thread.start()

    def _work(self, settings: FetchSettings, environ: Mapping[str, str], progress: Progress) -> None:
        try:
            run_job(settings, progress, self.stop, lambda: connect(settings, environ))
        except BaseException as error:  # noqa: BLE001 - reported by _run, with its traceback if it is a bug
            self.error = error
        with suppress(RuntimeError):  # the loop is closed when SIGTERM did not wait for us
            self._loop.call_soon_threadsafe(self.ended.set)


async def _run(settings: FetchSettings, environ: Mapping[str, str]) -> int:
    progress = Progress()
    job = _Job(settings, environ, progress)
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    async with _served(settings, progress):
        teller = asyncio.create_task(_tell(settings, progress, environ))
        ended = asyncio.create_task(job.ended.wait())
        stopped = asyncio.create_task(stopping.wait())
        await asyncio.wait((ended, stopped), return_when=asyncio.FIRST_COMPLETED)
        if not ended.done():
            job.stop.set()
            await asyncio.wait((ended,), timeout=_GRACE)
        teller.cancel()
        for task in (ended, stopped):
            task.cancel()
        code = _report(settings, progress, job.error, finished=job.ended.is_set())
    _leave_word(settings, progress, environ, job.error)
    return code


def _served(settings: FetchSettings, progress: Progress) -> AbstractAsyncContextManager[None]:
    if not settings.control_port:
        return nullcontext()
    return progress_server(progress, settings.pod_ip, settings.control_port)


def _leave_word(
    settings: FetchSettings, progress: Progress, environ: Mapping[str, str], error: BaseException | None = None
) -> None:
    """Tell the file that was asked for, if any, without secrets; one that cannot be written costs a warning."""
    if settings.told is None:
        return
    look = progress.look()
    states: dict[str, ToldState] = {"done": "fetched", "failed": "failed"}
    message = look.line() if look.state == "waiting" else ""
    if error:
        # Others' texts may hold anything, such as signed addresses.
        bug = f"a bug of the fetch ({type(error).__name__}): see the log of the container adapters"
        message = str(error) if isinstance(error, FetchError) else bug
    message = mask(mask_addresses(message), secrets_of(environ))
    told = Told(states.get(look.state, "fetching"), look.bytes, look.total or None, message)
    try:
        write_told(settings.told, told)
    except OSError as trouble:
        log.warning("%s cannot be written: %s", settings.told, trouble)


async def _tell(settings: FetchSettings, progress: Progress, environ: Mapping[str, str]) -> None:
    """Say how far it is: in the log, and to those who wait for the lock."""
    staging = Staging(settings.to, settings.chunk)
    loop = asyncio.get_running_loop()
    logged, waiting = loop.time(), ""
    while True:
        await asyncio.sleep(_TELL_SECONDS)
        look = progress.look()
        _leave_word(settings, progress, environ)
        if loop.time() - logged >= settings.log_seconds or (look.waiting_for and not waiting):
            log.info("%s", look.line())
            logged, waiting = loop.time(), look.waiting_for
        if look.state in ("listing", "fetching"):
            with suppress(OSError):
                await asyncio.to_thread(write_progress, staging, settings.holder, progress)


def _report(settings: FetchSettings, progress: Progress, error: BaseException | None, *, finished: bool) -> int:
    look = progress.look()
    if not finished or (isinstance(error, FetchError) and error.code == STOPPED):
        log.info("stopped: what was fetched is kept, the next start goes on from there")
        return STOPPED
    if error is None:
        progress.enter("done")
        log.info("%s is complete in %s after %.1f s", settings.uri, settings.to, look.seconds)
        return 0
    progress.enter("failed")
    if isinstance(error, FetchError):
        log.error("%s", error)
        return error.code
    log.error("a bug of the fetch, please report it", exc_info=error)
    log.error("%s: %s", type(error).__name__, error)
    return RETRIED
