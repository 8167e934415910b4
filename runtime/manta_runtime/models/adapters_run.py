"""The life of the container that fetches adapters: look at the list, start and end fetches, tell how far they are.

Every fetch is a process of its own (`manta-runtime fetch`): its libraries are gone from memory when it is over, and it
has the credentials of its adapter alone. Effects; what to do when is decided in adapters_plan.py.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from manta_runtime.models.adapters_list import MOUNTS, ListFile, WantedAdapter, read_mounts
from manta_runtime.models.adapters_plan import Failure, after_failure, to_end, to_start
from manta_runtime.models.adapters_secrets import NoCredentialsError, environment_of
from manta_runtime.models.adapters_told import Told, read_told, told_file, write_told
from manta_runtime.models.failure import PERMANENT
from manta_runtime.models.log import log_to_stderr
from manta_runtime.models.manifest import is_complete
from manta_runtime.models.settings import FetchSettingsError, parse_uri

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

log = logging.getLogger("manta.adapters")

_LOOK_SECONDS = 2.0
_END_SECONDS = 5.0
_RETRY_SECONDS = 60
"""A source that gives nothing for so long fails the fetch: its reason is seen, and it is tried again from here."""
_USAGE = 2
_NOTHING_GAINED = (_USAGE, PERMANENT)


def run_adapters(wanted: Path, told: Path, secrets: Path, pod_ip: str, environ: Mapping[str, str]) -> int:
    """Run until SIGTERM and return the exit code. `wanted` is a file, `told` and `secrets` are folders."""
    log_to_stderr(environ)
    fetcher = Fetcher(ListFile(wanted, read_mounts(environ.get(MOUNTS, ""))), told, secrets, pod_ip, environ)
    return asyncio.run(_run(fetcher))


async def _run(fetcher: Fetcher) -> int:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    try:
        while not stop.is_set():
            try:
                await fetcher.look()
            except Exception:
                log.exception("a bug of the look at adapters, please report it; it goes on")
            with suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_SECONDS):
                    await stop.wait()
    finally:
        await fetcher.close()
    return 0


@dataclass
class _Fetch:
    adapter: WantedAdapter
    process: asyncio.subprocess.Process


class Fetcher:
    """Fetches what the list wants; `look` is to be called every few seconds."""

    def __init__(self, wanted: ListFile, told: Path, secrets: Path, pod_ip: str, environ: Mapping[str, str]) -> None:
        self._wanted = wanted
        self._told = told
        self._secrets = secrets
        self._pod_ip = pod_ip
        self._environ = environ
        self._hash = ""
        self._running: dict[str, _Fetch] = {}
        self._failures: dict[str, Failure] = {}
        self._complete: set[str] = set()

    async def look(self) -> None:
        """Look once at everything and act on it; what goes wrong with one adapter is told of that one."""
        wanted = await asyncio.to_thread(self._wanted.look)
        if wanted.hash != self._hash:
            # Somebody has changed something: what failed may work now.
            self._hash, self._failures = wanted.hash, {}
        self._reap()
        missing = await asyncio.to_thread(self._missing, [each for each in wanted.adapters if each.fetch])
        # One that is complete is about to end by itself.
        unfinished = [key for key in self._running if key not in self._complete]
        for key in to_end(unfinished, missing):
            await self._end(self._running.pop(key), "no longer wanted")
        for adapter in to_start(missing, self._running, self._failures, time.monotonic()):
            await self._start(adapter)

    async def close(self) -> None:
        """End what still runs; what was fetched is kept."""
        for fetch in self._running.values():
            await self._end(fetch, "this container stops")
        self._running = {}

    def _missing(self, fetched: list[WantedAdapter]) -> list[WantedAdapter]:
        self._complete &= {adapter.key for adapter in fetched}
        missing = []
        for adapter in fetched:
            known = adapter.key in self._complete
            if not is_complete(adapter.path, adapter.uri.rstrip("/"), adapter.revision):
                missing.append(adapter)
                if known:
                    self._complete.remove(adapter.key)
                    log.warning("adapter %s is no longer complete in %s: fetching it again", adapter.name, adapter.path)
            elif not known:
                self._complete.add(adapter.key)
                self._failures.pop(adapter.key, None)
                self._tell(adapter, Told("fetched"))
                log.info("adapter %s is complete in %s", adapter.name, adapter.path)
        return missing

    async def _start(self, adapter: WantedAdapter) -> None:
        try:
            parse_uri(adapter.uri)
            environ = await asyncio.to_thread(environment_of, adapter, self._environ, self._secrets)
            log.info("fetching adapter %s from %s", adapter.name, adapter.uri)
            if adapter.key not in self._failures:
                self._tell(adapter, Told("fetching"))
            process = await asyncio.create_subprocess_exec(*self._command(adapter), env=environ)
        except (NoCredentialsError, OSError) as error:
            self._fail(adapter, Told("failed", message=str(error)), permanent=False)
            return
        except FetchSettingsError as error:
            self._fail(adapter, Told("failed", message=str(error)), permanent=True)
            return
        except Exception as error:
            log.exception("adapter %s: a bug, please report it", adapter.name)
            words = f"its fetch cannot begin ({type(error).__name__}): see the log of the container adapters"
            self._fail(adapter, Told("failed", message=words), permanent=True)
            return
        self._running[adapter.key] = _Fetch(adapter, process)

    def _command(self, adapter: WantedAdapter) -> list[str]:
        return [
            sys.executable,
            "-m",
            "manta_runtime.main",
            "fetch",
            f"--uri={adapter.uri}",
            *([f"--revision={adapter.revision}"] if adapter.revision else []),
            f"--to={adapter.path}",
            f"--pod-ip={self._pod_ip}",
            "--control-port=0",
            f"--retry-seconds={_RETRY_SECONDS}",
            "--parallel=4",
            "--adapter",
            f"--field=spec.model.adapters[{adapter.name}]",
            *([f"--secret={adapter.secret}"] if adapter.secret else []),
            f"--told={told_file(self._told, adapter.key)}",
        ]

    def _reap(self) -> None:
        for key, fetch in list(self._running.items()):
            code = fetch.process.returncode
            if code is None:
                continue
            del self._running[key]
            if code:
                told = read_told(told_file(self._told, key))
                why = told.message if told and told.state == "failed" else f"the fetch ended with code {code}"
                self._fail(fetch.adapter, Told("failed", message=why), permanent=code in _NOTHING_GAINED)

    def _fail(self, adapter: WantedAdapter, told: Told, *, permanent: bool) -> None:
        now = time.monotonic()
        failure = self._failures[adapter.key] = after_failure(
            self._failures.get(adapter.key), permanent=permanent, now=now
        )
        log.warning("adapter %s: %s; next try in %.0f s", adapter.name, told.message, failure.again - now)
        self._tell(adapter, told)

    def _tell(self, adapter: WantedAdapter, told: Told) -> None:
        try:
            write_told(told_file(self._told, adapter.key), told)
        except OSError as error:
            log.warning("what adapter %s does cannot be told: %s", adapter.name, error)

    async def _end(self, fetch: _Fetch, why: str) -> None:
        log.info("ending the fetch of adapter %s: %s", fetch.adapter.name, why)
        with suppress(ProcessLookupError):
            fetch.process.terminate()
        try:
            async with asyncio.timeout(_END_SECONDS):
                await fetch.process.wait()
        except TimeoutError:
            with suppress(ProcessLookupError):
                fetch.process.kill()
            await fetch.process.wait()
