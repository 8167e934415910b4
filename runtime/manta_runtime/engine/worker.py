"""A pod of rank above 0: find the head, join, run its share of the engine, leave with the group. Effects.

A worker never outlives its group: another epoch, a lost head or a dead child end it with a non-zero code, and the
kubelet starts it again to join the next epoch.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from manta_runtime.engine.adapters_copies import Copies
from manta_runtime.engine.beside import beside
from manta_runtime.engine.commands import engine_environment
from manta_runtime.engine.control import control_server
from manta_runtime.engine.failure import GROUP_OVER, LATE, EngineFailure
from manta_runtime.engine.frozen import Watch
from manta_runtime.engine.group import JoinRequest, MemberStage, Refusal, meeting_seconds
from manta_runtime.engine.head_link import (
    Answer,
    HeadLink,
    Silence,
    Unreachable,
    after_failure,
    describe_end,
    is_gone,
)
from manta_runtime.engine.journal import Journal, place_of
from manta_runtime.engine.processes import reap_orphans
from manta_runtime.engine.ray_node import start_ray
from manta_runtime.engine.readiness import Verdict, judge_worker
from manta_runtime.engine.telling import telling_routes

if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping

    import aiohttp

    from manta_runtime.engine.processes import Child
    from manta_runtime.engine.settings import EngineSettings
    from manta_runtime.engine.stop import Stop

log = logging.getLogger("manta.engine")

_T = TypeVar("_T")

_POLL_SECONDS = 1.0
_AFTER_HEAD_SECONDS = 5.0
"""A head at its deadline needs this long to cut off what is left; the worker must not be the one that does it."""
_STOP_GRACE = 2.0


async def run_worker(
    settings: EngineSettings,
    environ: Mapping[str, str],
    stop: Stop,
    session: aiohttp.ClientSession,
    journal: Journal | None = None,
) -> int:
    """Run a worker until it is told to stop; return the exit code. Raises EngineFailure, SettingsError."""
    journal = journal or Journal(place_of(settings))
    copies = Copies(settings)
    link = HeadLink(session, settings, secrets.token_hex(4), journal.model, copies)
    worker = _Worker(settings, environ, stop, link, journal)
    routes = telling_routes(worker, journal)
    async with (
        control_server(worker, settings.pod_ip, settings.control_port, settings.group_token, routes),
        beside(copies.keep_looking()),
    ):
        try:
            await worker.run()
        except EngineFailure as failure:
            await worker.confess(str(failure))
            raise
        finally:
            await worker.close()
    return 0


class _Worker:
    def __init__(
        self, settings: EngineSettings, environ: Mapping[str, str], stop: Stop, link: HeadLink, journal: Journal
    ) -> None:
        self._journal = journal
        self._settings = settings
        self._environ = environ
        self._stop = stop
        self._link = link
        self._child: Child | None = None
        self._epoch = ""
        self._missing: tuple[int, ...] = tuple(range(settings.group_size))

    def readiness(self) -> Verdict:
        return judge_worker(joined=self._child is not None, stopping=self._stop.asked.is_set())

    def ranks(self) -> tuple[int, int]:
        return self._settings.group_size - len(self._missing), len(self._missing)

    def state(self) -> dict[str, Any]:
        return {"epoch": self._epoch, "rank": self._settings.rank, "joined": self._child is not None}

    def welcome(self, request: JoinRequest) -> Refusal:
        return Refusal(404, f"rank {request.rank} asked rank {self._settings.rank} to join; only rank 0 is a head")

    async def run(self) -> None:
        """Join, stay, leave. Returns when the pod was told to stop and the group is done."""
        starting = asyncio.create_task(self._start())
        asked = asyncio.create_task(self._stop.asked.wait())
        await asyncio.wait({starting, asked}, return_when=asyncio.FIRST_COMPLETED)
        asked.cancel()
        if not starting.done():
            starting.cancel()
            await asyncio.gather(starting, return_exceptions=True)
            log.info("told to stop before the group was complete")
            return
        await starting
        await self._stay()

    async def _start(self) -> None:
        self._journal.begin("group")
        answer = await self._find_head()
        self._epoch = answer.epoch
        environment = engine_environment(self._settings, self._environ, answer.address, answer.token)
        self._journal.hide(answer.token)
        self._journal.begin("ray")
        log.info("joining Ray at %s", answer.address)
        hear = self._journal.listener("ray")
        self._child, _ = await self._with_heartbeat(start_ray(self._settings, environment, answer.address, hear))
        self._journal.begin("ready")
        log.info("joined the group (epoch %s)", self._epoch)

    async def _find_head(self) -> Answer:
        started = reported = time.monotonic()
        while True:
            try:
                answer = await self._link.join("waiting")
            except Unreachable as error:
                answer, why = Answer(), f"waiting for the head {self._settings.head}: {error}"
            else:
                self._missing = answer.missing
                why = answer.refusal or "waiting for the head to start the group"
            if answer.lasts:
                raise EngineFailure(answer.refusal)
            if answer.address and not answer.refusal:
                return answer
            now = time.monotonic()
            deadline = meeting_seconds(self._settings.startup_seconds)
            if now - started > deadline:
                raise EngineFailure(f"gave up after {now - started:.0f} s: {why}. See the logs of pod 0.", LATE)
            if now - reported >= 10:
                reported = now
                log.info("%s, %.0f s of %.0f s", why, now - started, deadline)
            await asyncio.sleep(_POLL_SECONDS)

    async def _with_heartbeat(self, starting: Coroutine[Any, Any, _T]) -> _T:
        # The head may be gone before Ray is up; Ray itself would go on trying for minutes.
        task = asyncio.create_task(starting)
        watch = asyncio.create_task(self._follow("waiting"))
        try:
            await asyncio.wait({task, watch}, return_when=asyncio.FIRST_COMPLETED)
            if watch.done() and not task.done():
                watch.result()
            return await task
        finally:
            task.cancel()
            watch.cancel()
            await asyncio.gather(task, watch, return_exceptions=True)

    async def _stay(self) -> None:
        child = self._child
        if child is None:
            raise EngineFailure("joined without a process; this is a bug")
        ended = asyncio.create_task(child.wait())
        follow = asyncio.create_task(self._follow("joined"))
        deadline = asyncio.create_task(self._deadline())
        processes = Watch()
        frozen = asyncio.create_task(processes.run(dict))
        tasks: set[asyncio.Task[Any]] = {ended, follow, deadline, frozen}
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if frozen.done():
                frozen.result()
            elif follow.done():
                follow.result()
            elif ended.done() and not self._stop.asked.is_set():
                raise EngineFailure(
                    f"{child.name} ended with code {ended.result()}{processes.words(child.causes)}: this rank is lost",
                    code=ended.result() or 1,
                )
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _follow(self, stage: MemberStage) -> None:
        """Repeat the join; return when told to stop and the head is done or gone, raise when the group is over."""
        silence = Silence()
        while True:
            stopping = self._stop.asked.is_set()
            try:
                answer = await self._link.join("leaving" if stopping and stage == "joined" else stage)
                silence = Silence()
            except Unreachable as error:
                silence = after_failure(silence, error.refused, time.monotonic())
                if stopping and error.refused:
                    return
                if is_gone(silence, time.monotonic()):
                    raise EngineFailure(f"the head {self._settings.head} is gone: {error}", GROUP_OVER) from error
            else:
                self._missing = answer.missing
                over = answer.refusal or describe_end(answer)
                if over and stopping:
                    return
                if over:
                    raise EngineFailure(over, GROUP_OVER)
            reap_orphans([self._child] if self._child else [])
            await asyncio.sleep(_POLL_SECONDS)

    async def _deadline(self) -> None:
        await self._stop.asked.wait()
        self._journal.drain_begins()
        log.info("told to stop: serving on until the head has drained, %.0f s at most", self._settings.drain_seconds)
        try:
            async with asyncio.timeout(self._settings.drain_seconds + _AFTER_HEAD_SECONDS):
                await self._stop.hurried.wait()
        except TimeoutError:
            log.warning("the head has not drained in time, leaving all the same")

    async def confess(self, why: str) -> None:
        """Tell the head that this rank is lost, and why, so that the group need not wait for its silence."""
        with suppress(Unreachable):
            await self._link.join("failed", why)

    async def close(self) -> None:
        """End the child, if there is one."""
        if self._child:
            await self._child.stop(_STOP_GRACE)
            self._child = None
        self._journal.begin("done")
