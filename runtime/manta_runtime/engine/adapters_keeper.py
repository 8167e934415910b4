"""Keep the adapters of vLLM as the list wants them, on the head: look, ask adapters.py what to do, do it. Effects.

It runs beside everything else, and nothing that goes wrong here ends the engine: the base model serves on.
"""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from manta_runtime.engine.adapters import TRIAL, Attempt, Step, View, after_failure, decide, is_settled, look_at
from manta_runtime.engine.adapters_client import AdaptersClient
from manta_runtime.engine.adapters_copies import Copies
from manta_runtime.engine.adapters_fit import misfit
from manta_runtime.engine.daemon_threads import in_daemon_thread

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from manta_runtime.engine.adapters import Copy, Seen
    from manta_runtime.engine.settings import EngineSettings
    from manta_runtime.engine.vllm_client import VllmClient

log = logging.getLogger("manta.engine")

_LOOK_SECONDS = 2.0
_WAIT_SECONDS = 0.5
_PAST = {"load": "loaded", "replace": "replaced", "unload": "unloaded"}
_FIT_SECONDS = 60.0
_MOST_STEPS = 1000  # in one round: whatever vLLM answers, the round ends


class AdapterKeeper:
    """The adapters of one replica. `loads`: how many loads ended how, since this launcher started."""

    def __init__(self, settings: EngineSettings, client: VllmClient) -> None:
        self.copies = Copies(settings)
        self.loads = {"loaded": 0, "failed": 0}
        self._client = AdaptersClient(client)
        self._model = Path(settings.model).expanduser() if settings.model_is_local else None
        self._listed: Mapping[str, str] | None = None
        self._ours: dict[str, str] = {}
        self._attempts: dict[str, Attempt] = {}
        self._doing: Step | None = None
        self._hash = ""
        self._awaited = asyncio.Event()
        self._others: Callable[[], Mapping[int, Mapping[str, Copy]]] = dict

    @property
    def view(self) -> View:
        """Everything that is known now."""
        return View(
            self.copies.wanted,
            {0: self.copies.found, **self._others()},
            self._listed or {},
            self._ours,
            self._attempts,
            doing=self._doing,
        )

    def seen(self) -> tuple[Seen, ...]:
        """Return what to tell of each adapter."""
        return look_at(self.view)

    async def run(self, others: Callable[[], Mapping[int, Mapping[str, Copy]]], serving: Callable[[], bool]) -> None:
        """Look every 2 s until cancelled; ends at once where no list was asked for.

        Args:
            others: What the other ranks of the group tell of their copies.
            serving: Whether vLLM may be asked for something: not before its first token, not while it drains.
        """
        self._others = others
        while self.copies.asked_for:
            try:
                await self.turn(serving)
            except Exception:
                log.exception("a bug of the adapters' keeper; the engine serves on")
            with suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_SECONDS):
                    await self._awaited.wait()
            self._awaited.clear()

    async def until_settled(self, deadline: float, tell: Callable[[str], None]) -> None:
        """Wait until each adapter is loaded or has failed, until `deadline` (monotonic seconds) at most.

        `tell` is told what is waited for.
        """
        self._awaited.set()
        while self.copies.asked_for and not (self._listed is not None and is_settled(self.view)):
            waiting = [seen.name for seen in self.seen() if seen.state not in ("Loaded", "Failed")]
            tell(f"its adapters are not loaded yet: {', '.join(waiting[:5]) or 'the list is being read'}")
            if time.monotonic() > deadline:
                log.warning("ready without these adapters, the startup deadline is over: %s", ", ".join(waiting))
                return
            await asyncio.sleep(_WAIT_SECONDS)

    async def turn(self, serving: Callable[[], bool]) -> None:
        """Look once, and do all that is to be done by it."""
        await self.copies.look()
        if self.copies.wanted.hash != self._hash:
            # Somebody has changed something: what failed may work now.
            self._hash = self.copies.wanted.hash
            self._attempts = {name: replace(attempt, again=0.0) for name, attempt in self._attempts.items()}
        for _ in range(_MOST_STEPS):
            if not serving():
                return
            listed = await self._client.listed()
            if listed is None:
                return
            self._listed = listed
            self._ours = {name: path for name, path in self._ours.items() if listed.get(name) == path}
            step = decide(self.view, time.monotonic())
            if step is None:
                return
            await self._do(step)

    async def _do(self, step: Step) -> None:
        """Take one step, and remember how it went."""
        self._doing = step
        try:
            if step.action == "unload":
                problem = await self._client.unload(step.name)
            else:
                problem = await self._misfit(step.path) or await self._put(step)
        finally:
            self._doing = None
        if step.action != "unload":
            self.loads["failed" if problem else "loaded"] += 1
        if problem:
            attempt = after_failure(self._attempts.get(step.name), step.key, problem, time.monotonic())
            self._attempts[step.name] = attempt
            log.warning("adapter %s cannot be %s: %s (try %d)", step.name, _PAST[step.action], problem, attempt.count)
            return
        self._attempts.pop(step.name, None)
        if step.action == "unload":
            self._ours.pop(step.name, None)
            log.info("adapter %s: unloaded", step.name)
        else:
            log.info("adapter %s: loaded from %s", step.name, step.path)

    async def _misfit(self, path: str) -> str:
        if self._model is None:
            return ""
        try:
            async with asyncio.timeout(_FIT_SECONDS):
                return await in_daemon_thread(misfit, Path(path), self._model)
        except TimeoutError:
            return f"{path} and the model could not be read within {_FIT_SECONDS:.0f} s: see their volumes"

    async def _put(self, step: Step) -> str:
        return await (self._replace(step) if step.action == "replace" else self._load(step.name, step.path))

    async def _load(self, name: str, path: str) -> str:
        # Ours also when the answer is lost; what vLLM does not list in the end is forgotten by the next look.
        self._ours[name] = path
        return await self._client.load(name, path)

    async def _replace(self, step: Step) -> str:
        """Take another path under a name.

        Not with `load_inplace`: it changes the weights of answers in the making, and vLLM 0.32 then reads the files
        again at every step of the engine (measured: docs/adapters.md).
        """
        trial = step.name + TRIAL
        problem = await self._client.load(trial, step.path)
        if problem:
            return problem
        await self._client.unload(trial)
        # Right behind each other: between the two the name is nobody's; a request that comes while vLLM loads waits.
        unloading = asyncio.create_task(self._client.unload(step.name))
        await asyncio.sleep(0)
        problem = await self._load(step.name, step.path)
        await unloading
        # The second overtook the first: the name was still taken.
        problem = problem and await self._load(step.name, step.path)
        if problem and await self._load(step.name, step.old):
            log.warning("adapter %s: the one of before cannot be loaded again either", step.name)
        return problem
