"""Put the picker together and run it: pods watched, engines scraped, completions heard, Envoy's questions answered."""

import asyncio
import contextlib
import logging
import signal
import time
from collections.abc import Awaitable, Iterable
from pathlib import Path

import msgspec

from manta_runtime.router.config import ConfigError, RouterConfig
from manta_runtime.router.endpoints import FILE_NAME, EndpointsFile
from manta_runtime.router.membership import Members
from manta_runtime.router.picker import http, scrape
from manta_runtime.router.picker.answers import Picks, is_pick
from manta_runtime.router.picker.completions import Completions
from manta_runtime.router.picker.http import Answer, Question
from manta_runtime.router.picker.ledger import Ledger
from manta_runtime.router.picker.metrics import Metrics
from manta_runtime.router.pod_watch import PodWatch

log = logging.getLogger(__name__)

# Envoy gets SIGTERM in the same moment and still asks while it drains: the picker must be the last to go.
_OUTLIVE_SECONDS = 10.0
_POLL_SECONDS = 0.5
_PLAIN = "text/plain; charset=utf-8"
_PROMETHEUS = "text/plain; version=1.0.0; charset=utf-8"


class Picker:
    """One picker and its state."""

    def __init__(self, config: RouterConfig, run_dir: Path) -> None:
        self._config = config
        self._members = Members(config.engine_port)
        self._ledger = Ledger()
        self._metrics = Metrics(self._gauges)
        self._picks = Picks(config, self._members, self._ledger, self._metrics)
        self._watch = PodWatch(self._members, config.namespace, config.selector, self._forget_gone)
        self._endpoints = EndpointsFile(run_dir / FILE_NAME)
        self._ending = False

    async def run(self, pod_ip: str) -> None:
        """Serve on `pod_ip` until SIGTERM or SIGINT, and until Envoy has gone. ConfigError if a port is taken."""
        completions = Completions(self._ended, self._ledger.forget_requests)
        config = self._config
        answers = await _listen(
            http.serve(self._answer, pod_ip, config.picker_port, config.max_body_bytes), "pickerPort"
        )
        ends = await _listen(completions.serve(pod_ip, config.access_log_port), "accessLogPort")
        stop = asyncio.Event()
        for name in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(name, stop.set)
        async with answers, ends:
            work = [
                asyncio.create_task(self._watch.run()),
                asyncio.create_task(scrape.run(self._members, self._ledger.observe)),
            ]
            asked = asyncio.create_task(stop.wait())
            try:
                done, _ = await asyncio.wait((asked, *work), return_when=asyncio.FIRST_COMPLETED)
                for task in done - {asked}:
                    task.result()
                self._ending = True
                await self._outlive_envoy(pod_ip)
            finally:
                await _cancel((asked, *work))

    async def _outlive_envoy(self, pod_ip: str) -> None:
        log.info("ending: answering until Envoy has drained")
        deadline = time.monotonic() + self._config.drain_seconds + _OUTLIVE_SECONDS
        while time.monotonic() < deadline:
            try:
                _, writer = await asyncio.open_connection(pod_ip, self._config.health_port)
            except OSError:
                return
            writer.close()
            await asyncio.sleep(_POLL_SECONDS)

    def _answer(self, question: Question) -> Answer:
        if is_pick(question):
            return self._picks.answer(question)
        if question.path == "/readyz":
            return self._ready()
        if question.path == "/livez":
            return Answer(200, b"ok\n", content_type=_PLAIN)
        if question.path == "/metrics":
            return Answer(200, self._metrics.render(), content_type=_PROMETHEUS)
        if question.path == "/loads":  # the operator's question, before it takes the least loaded replica away
            return Answer(200, msgspec.json.encode(self._ledger.by_group(self._members.names)))
        return Answer(404, b"the picker serves /livez, /readyz, /metrics and /loads\n", content_type=_PLAIN)

    def _ready(self) -> Answer:
        """Ready without replicas too: someone has to answer the 503."""
        if self._ending:
            return Answer(503, b"ending\n", content_type=_PLAIN)
        if not self._watch.synced:
            return Answer(503, b"the API server has not answered yet\n", content_type=_PLAIN)
        return Answer(200, b"ok\n", content_type=_PLAIN)

    def _ended(self, request: str, flags: str) -> None:
        self._ledger.ended(request, flags, time.monotonic())

    def _forget_gone(self) -> None:
        self._ledger.keep_only(self._members.names)
        self._endpoints.write(self._members.all)

    def _gauges(self) -> Iterable[tuple[str, str, dict[str, int]]]:
        yield "manta_router_in_flight", "This router's requests in flight.", self._ledger.in_flight()
        yield "manta_router_replicas", "Replicas that exist.", {"": self._members.known}
        yield "manta_router_replicas_usable", "Replicas that may be picked.", {"": len(self._members.usable)}


async def run(config: RouterConfig, pod_ip: str, run_dir: Path) -> None:
    """Run the picker until a signal ends it. ConfigError if there are no credentials or a port is taken."""
    await Picker(config, run_dir).run(pod_ip)


async def _listen(starting: Awaitable[asyncio.Server], field: str) -> asyncio.Server:
    try:
        return await starting
    except OSError as error:
        raise ConfigError(f"cannot listen on {field}: {error}") from error


async def _cancel(tasks: Iterable[asyncio.Task[object]]) -> None:
    for task in tasks:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError, Exception):
            await task
