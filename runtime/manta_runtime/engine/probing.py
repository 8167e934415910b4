"""Probe the vLLM of this pod: until its first token, then its health and its progress. Effects.

head.py runs it beside vLLM; readiness.py judges what it has seen.
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from manta_runtime.engine.failure import HUNG, LATE, EngineFailure
from manta_runtime.engine.readiness import Health
from manta_runtime.engine.stalls import watch_progress

if TYPE_CHECKING:
    from collections.abc import Callable

    from manta_runtime.engine.adapters_keeper import AdapterKeeper
    from manta_runtime.engine.journal import Journal
    from manta_runtime.engine.settings import EngineSettings
    from manta_runtime.engine.vllm_client import VllmClient

log = logging.getLogger("manta.engine")

_TICK_SECONDS = 1.0
_REPORT_SECONDS = 10.0
_ASLEEP_SECONDS = 20.0
"""A question and its timeout take 11 s at most: a longer round means that this process did not run."""


class Prober:
    """What is seen of vLLM; `health` is kept up to date. The startup deadline counts from `run`."""

    def __init__(self, settings: EngineSettings, client: VllmClient, journal: Journal, keeper: AdapterKeeper) -> None:
        self.health = Health()
        self._keeper = keeper
        self._settings = settings
        self._client = client
        self._journal = journal
        self._started = time.monotonic()

    async def run(self, serves: Callable[[], None]) -> None:
        """Probe until cancelled; `serves` is called at the first token.

        Raises EngineFailure when no token comes by the startup deadline, or when vLLM hangs later.
        """
        self._started = time.monotonic()
        self.health = replace(self.health, started=True)
        waited = await self._await_first_token()
        serves()
        # Beside the wait for adapters, which may take minutes: an engine can hang meanwhile as well.
        watches = [
            asyncio.create_task(watch_progress(self._client, self._note_stall, self._settings.hang_seconds)),
            asyncio.create_task(self._watch_health()),
            asyncio.create_task(self._become_ready(waited)),
        ]
        try:
            await asyncio.gather(*watches)
        finally:
            for watch in watches:
                watch.cancel()
            await asyncio.gather(*watches, return_exceptions=True)

    async def _become_ready(self, waited: float) -> None:
        await self._await_adapters()
        self._journal.begin("ready")
        log.info("ready: first token after %.0f s", waited)

    async def _await_adapters(self) -> None:
        """Wait for them, so that a rollout loses no request for one: until the startup deadline, not longer."""
        if not self._keeper.copies.asked_for:
            return
        self._journal.begin("adapters")
        await self._keeper.until_settled(self._started + self._settings.startup_seconds, self._note_wait)
        self._note_wait("")

    def _note_wait(self, waits: str) -> None:
        self.health = replace(self.health, waits=waits)

    def _note_stall(self, stall: str) -> None:
        self._journal.note_stall(stall)
        self.health = replace(self.health, stall=stall)

    async def _watch_health(self) -> None:
        well = last = time.monotonic()
        while True:
            # Awaited before the replace: the stall may change meanwhile.
            healthy = await self._client.healthy()
            self.health = replace(self.health, healthy=healthy)
            now = time.monotonic()
            if healthy or now - last > _ASLEEP_SECONDS:
                well = now
            last = now
            if now - well >= self._settings.hang_seconds:
                raise EngineFailure(
                    f"vLLM's /health has not said 200 for {now - well:.0f} s: its HTTP server hangs "
                    f"(spec.engine.hangSeconds is {self._settings.hang_seconds:.0f}), so the group starts again",
                    code=HUNG,
                )
            await asyncio.sleep(_TICK_SECONDS)

    async def _await_first_token(self) -> float:
        """Return after how many seconds it came. Raises EngineFailure at the startup deadline."""
        reported = time.monotonic()
        problem = "vLLM is still loading"
        while True:
            healthy = await self._client.healthy()
            self.health = replace(self.health, healthy=healthy)
            problem = await self._client.produce_tokens(self._settings.ranks.data) if healthy else problem
            now = time.monotonic()
            waited, deadline = now - self._started, self._settings.startup_seconds
            if not problem:
                waits = "its adapters are not loaded yet" if self._keeper.copies.asked_for else ""
                # Until the first look: one that cannot be watched must not be ready for a moment.
                stall = "nobody has looked at vLLM's progress yet"
                self.health = replace(self.health, produced=True, waits=waits, stall=stall)
                return waited
            if waited > deadline:
                raise EngineFailure(
                    f"not ready within {deadline:.0f} s: {problem}. "
                    "A bigger model needs a longer spec.engine.startupSeconds.",
                    code=LATE,
                )
            if now - reported >= _REPORT_SECONDS:
                reported = now
                log.info("%s, %.0f s of %.0f s", problem, waited, deadline)
            await self._journal.until_it_listens(_TICK_SECONDS)
