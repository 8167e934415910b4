"""Rank 0: gather the group, start vLLM, be ready only when tokens come, drain, end. Effects.

Side by side run `_serve` (gather → start → wait for vLLM's end), `_watch` (ranks and Ray), the look for frozen
processes and the wait for a reason to drain. The first to finish decides how the pod ends; who watches goes on watching
while it drains. The decisions are group.py, readiness.py and drain.py.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from manta_runtime.engine.adapters_keeper import AdapterKeeper
from manta_runtime.engine.adapters_telling import AdapterMetrics, adapter_routes
from manta_runtime.engine.beside import beside
from manta_runtime.engine.commands import engine_environment
from manta_runtime.engine.control import control_server
from manta_runtime.engine.draining import drain_engine
from manta_runtime.engine.failure import CUT_OFF, GROUP_OVER, LATE, EngineFailure
from manta_runtime.engine.frozen import Watch
from manta_runtime.engine.group import (
    Group,
    JoinRequest,
    Refusal,
    answer_of,
    copies_of_others,
    describe_silent,
    describe_waiting,
    forgive,
    join,
    lose_silent,
    meeting_seconds,
    state_of,
)
from manta_runtime.engine.journal import Journal, place_of
from manta_runtime.engine.probing import Prober
from manta_runtime.engine.processes import Child, reap_orphans
from manta_runtime.engine.ray_node import start_ray, stop_ray
from manta_runtime.engine.readiness import Verdict, judge_head
from manta_runtime.engine.telling import telling_routes
from manta_runtime.engine.vllm_process import start_vllm

if TYPE_CHECKING:
    from collections.abc import Mapping

    from manta_runtime.engine.adapters import Copy
    from manta_runtime.engine.settings import EngineSettings
    from manta_runtime.engine.stop import Stop
    from manta_runtime.engine.vllm_client import VllmClient

log = logging.getLogger("manta.engine")

_TICK_SECONDS = 1.0
_ASLEEP_SECONDS = 5.0
_REPORT_SECONDS = 10.0
_TELL_SECONDS = 2.5


async def run_head(
    settings: EngineSettings,
    environ: Mapping[str, str],
    stop: Stop,
    client: VllmClient,
    journal: Journal | None = None,
) -> int:
    """Run rank 0 until it is told to stop; return the exit code. Raises EngineFailure, SettingsError."""
    journal = journal or Journal(place_of(settings))
    keeper = AdapterKeeper(settings, client)
    head = _Head(settings, environ, stop, client, journal, keeper)
    routes = [*telling_routes(head, journal, AdapterMetrics(keeper)), *adapter_routes(keeper)]
    async with (
        control_server(head, settings.pod_ip, settings.control_port, settings.group_token, routes),
        beside(keeper.run(head.copies_of_others, head.serves)),
    ):
        try:
            return await head.run()
        except EngineFailure as failure:
            head.over = str(failure)
            raise
        finally:
            await head.close()


class _Head:
    def __init__(
        self,
        settings: EngineSettings,
        environ: Mapping[str, str],
        stop: Stop,
        client: VllmClient,
        journal: Journal,
        keeper: AdapterKeeper,
    ) -> None:
        self._journal = journal
        self._settings = settings
        self._environ = environ
        self._stop = stop
        self._client = client
        prefix = settings.pod_name.rpartition("-")[0] or settings.pod_name
        self._group = Group(
            epoch=secrets.token_hex(4), size=settings.group_size, pod_prefix=prefix, model=journal.model
        )
        self._prober = Prober(settings, client, journal, keeper)
        self._vllm: Child | None = None
        self._ray: Child | None = None
        self._started = time.monotonic()
        self._untold: set[int] = set()
        self._all_told = asyncio.Event()
        self._leaving = asyncio.Event()
        self._processes = Watch()
        self.over = ""
        self._cut = ""

    def readiness(self) -> Verdict:
        return judge_head(self._group, self._prober.health)

    def ranks(self) -> tuple[int, int]:
        missing = len(self._group.missing)
        return self._group.size - missing, missing

    def state(self) -> dict[str, Any]:
        return state_of(self._group)

    def copies_of_others(self) -> Mapping[int, Mapping[str, Copy]]:
        return copies_of_others(self._group)

    def serves(self) -> bool:
        return self._group.stage == "serving"

    def welcome(self, request: JoinRequest) -> Mapping[str, Any] | Refusal:
        before = self._group.missing
        self._group, refusal = join(self._group, request, time.monotonic())
        if request.rank in before and request.rank not in self._group.missing:
            log.info("rank %d (%s, %s) joined", request.rank, request.pod_name, request.pod_ip)
        if self._group.stage == "done":
            self._untold.discard(request.rank)
            if not self._untold:
                self._all_told.set()
        return refusal or answer_of(self._group)

    async def run(self) -> int:
        """Serve, and drain when told to; return the exit code. Raises EngineFailure."""
        serve = asyncio.create_task(self._serve())
        watch = asyncio.create_task(self._watch())
        frozen = asyncio.create_task(self._processes.run(self._names))
        asked = asyncio.create_task(self._stop.asked.wait())
        leaving = asyncio.create_task(self._leaving.wait())
        tasks: set[asyncio.Task[Any]] = {serve, watch, frozen, asked, leaving}
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if asked.done():
                self.over = "rank 0 is being stopped"
            else:
                for task in (serve, watch, frozen):
                    if task.done():
                        task.result()
            serve.cancel()
            await asyncio.gather(serve, return_exceptions=True)
            await self._drain({watch, frozen})
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        if self._cut:
            raise EngineFailure(self._cut, CUT_OFF)
        # A group whose worker is leaving ends too, but nobody asked this pod to stop: it starts again.
        return 0 if self._stop.asked.is_set() else GROUP_OVER

    async def _serve(self) -> None:
        settings = self._settings
        environment = engine_environment(settings, self._environ)
        if settings.executor == "ray":
            token = secrets.token_hex(32)
            environment = engine_environment(settings, self._environ, token=token)
            self._journal.hide(token)
            self._journal.begin("ray")
            log.info("starting the Ray head")
            self._ray, address = await start_ray(settings, environment, hear=self._journal.listener("ray"))
            self._group = replace(self._group, address=address, token=token)
            environment = engine_environment(settings, self._environ, address, token)
        if settings.group_size > 1:
            self._journal.begin("group")
        await self._gather()
        self._journal.begin("start")
        log.info("starting %s: %s", settings.engine_name, " ".join(settings.shown_flags))
        self._group = replace(self._group, stage="starting")
        self._vllm = await start_vllm(settings, environment, self._journal.listener("vllm"))
        probing = asyncio.create_task(self._prober.run(self._serves))
        ended = asyncio.create_task(self._vllm.wait())
        try:
            await asyncio.wait({probing, ended}, return_when=asyncio.FIRST_COMPLETED)
            if probing.done():
                probing.result()
            code = ended.result()
            unasked = "" if code else ", though nobody told it to"
            hints = self._processes.words(self._vllm.causes) + describe_silent(self._group, time.monotonic())
            raise EngineFailure(
                f"vLLM ended by itself with code {code}{unasked}{hints}; its own last words are above", code=code or 1
            )
        finally:
            probing.cancel()
            ended.cancel()
            await asyncio.gather(probing, ended, return_exceptions=True)

    async def _gather(self) -> None:
        """Wait until every rank has joined. Raises EngineFailure at the startup deadline, naming the missing."""
        reported = time.monotonic()
        while self._group.missing:
            now = time.monotonic()
            waited, deadline = now - self._started, meeting_seconds(self._settings.startup_seconds)
            message = describe_waiting(self._group, waited, deadline)
            if waited > deadline:
                raise EngineFailure(
                    f"gave up {message}. See why those pods do not run: their events and logs.", code=LATE
                )
            if now - reported >= _REPORT_SECONDS:
                reported = now
                log.info(message)
            await asyncio.sleep(_TICK_SECONDS / 2)
        if self._group.size > 1:
            log.info("all %d ranks are here after %.0f s", self._group.size, time.monotonic() - self._started)

    def _serves(self) -> None:
        self._group = replace(self._group, stage="serving")

    async def _watch(self) -> None:
        """Tell when a worker's pod is leaving. Raises EngineFailure when a rank or Ray is lost, also after that."""
        last = time.monotonic()
        while True:
            await asyncio.sleep(_TICK_SECONDS)
            now = time.monotonic()
            if now - last > _ASLEEP_SECONDS:
                self._group = forgive(self._group, now - last)
            last = now
            self._group = lose_silent(self._group, now)
            if self._group.lost:
                raise EngineFailure(f"{self._group.lost}: the group starts again", code=GROUP_OVER)
            if self._ray and self._ray.exit_code is not None:
                code = await self._ray.wait()
                before = self._processes.words(self._ray.causes)
                raise EngineFailure(f"Ray ended with code {code}{before}: the group starts again")
            reap_orphans([child for child in (self._vllm, self._ray) if child])
            if self._group.leaving and not self._leaving.is_set():
                self.over = f"rank {self._group.leaving[0]} is being stopped, so the whole group drains"
                log.info(self.over)
                self._leaving.set()

    async def _drain(self, watches: set[asyncio.Task[None]]) -> None:
        self._group = replace(self._group, stage="draining")
        vllm, serving = self._vllm, self._prober.health.produced
        if vllm is None or not serving:
            log.info("told to stop before vLLM served anything")
            return
        self._journal.drain_begins()
        draining = asyncio.create_task(drain_engine(self._settings, vllm, self._client, self._stop, self._journal))
        await asyncio.wait({draining, *watches}, return_when=asyncio.FIRST_COMPLETED)
        if not draining.done():
            # A rank that is lost or frozen leaves nothing to wait for; a rank that is leaving does.
            draining.cancel()
            await asyncio.gather(draining, return_exceptions=True)
            self._journal.drain_cuts_off()
            self._journal.drain_ends(killed=True)
            for watch in watches:
                if watch.done():
                    watch.result()
        self._cut = await draining

    async def close(self) -> None:
        """End what still runs, vLLM first; workers are told meanwhile that the group is done, and why."""
        self._untold = {member.rank for member in self._group.members}
        self._group = replace(self._group, stage="done", over=self.over)
        self._journal.begin("done")
        # Beside each other: what a driver or a disk holds does not die at once, and nobody is to wait for that.
        await asyncio.gather(self._vllm.kill() if self._vllm else asyncio.sleep(0), self._until_told())
        if self._ray:
            await stop_ray(self._ray)

    async def _until_told(self) -> None:
        # Before Ray ends, or a worker would take that for the cause. They ask every second; who does not is gone.
        if self._untold:
            with suppress(TimeoutError):
                async with asyncio.timeout(_TELL_SECONDS):
                    await self._all_told.wait()

    def _names(self) -> dict[int, str]:
        return {self._vllm.pid: "vLLM's API server"} if self._vllm else {}
