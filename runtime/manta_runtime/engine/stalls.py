"""Look at vLLM's progress every few seconds, and ask for a token when progress.py wants one. Effects.

An engine that hangs for too long ends the launcher from here.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from manta_runtime.engine import progress
from manta_runtime.engine.failure import HUNG, EngineFailure
from manta_runtime.engine.progress import BLIND, Progress, after_look, describe_stalls, forgive, wants_token

if TYPE_CHECKING:
    from collections.abc import Callable

    from manta_runtime.engine.vllm_client import VllmClient

log = logging.getLogger("manta.engine")

_LOOK_SECONDS = 5.0
_ASLEEP_SECONDS = 20.0
"""A look and its timeouts take 15 s at most: a longer round means that this process did not run."""


async def watch_progress(client: VllmClient, tell: Callable[[str], None], hang_seconds: float) -> None:
    """Call `tell` after every look with why vLLM answers nothing, "" when it does; runs until it is cancelled.

    An engine whose metrics do not tell is none to send requests to, from the first look on, and once they have told,
    when they have not for `hang_seconds`. Raises EngineFailure when requests have waited that long without a step.
    """
    engines: dict[str, Progress] = {}
    asking = _Asking(client)
    stall, last, told, blind = "", time.monotonic(), -math.inf, False
    try:
        while True:
            looks = await client.look()
            now = time.monotonic()
            if now - last > _ASLEEP_SECONDS:
                engines = {engine: forgive(progress, now - last) for engine, progress in engines.items()}
                told += now - last
            last = now
            told = now if looks else told
            blind = blind if looks is None else now - told >= hang_seconds
            for engine, look in (looks or {}).items():
                # vLLM's own count may be off where clients left at a bad moment: what we ask for is known to wait.
                look = replace(look, unanswered=max(look.unanswered, asking.waits(engine)))  # noqa: PLW2901
                engines[engine] = after_look(engines.get(engine, Progress(moved=now)), look, now)
            before, stall = stall, describe_stalls(engines) or (BLIND if blind else "")
            if bool(before) != bool(stall):
                log.warning("%s", stall or "vLLM makes progress again")
            tell(stall)
            if max((progress.waited for progress in engines.values()), default=0.0) >= hang_seconds:
                raise EngineFailure(_hung(stall, hang_seconds), code=HUNG)
            for engine, progress in engines.items():
                if wants_token(progress):
                    asking.ask(engine, int(engine) if len(engines) > 1 else None, now)
            await asyncio.sleep(_LOOK_SECONDS)
    finally:
        await asking.close()


def _hung(stall: str, hang_seconds: float) -> str:
    return (
        f"{stall}: it hangs (spec.engine.hangSeconds is {hang_seconds:.0f}), so the group starts again. "
        "Where one step may take that long, raise hangSeconds or lower --max-num-batched-tokens."
    )


class _Asking:
    """Asks engines for tokens, one at a time of each: behind a hang they would only pile up."""

    def __init__(self, client: VllmClient) -> None:
        self._client = client
        self._asked: dict[str, tuple[asyncio.Task[str], float]] = {}

    def ask(self, engine: str, data_rank: int | None, now: float) -> None:
        """Ask for a token; one that was asked for and has not come is given up first, and asked for the next time."""
        task, since = self._asked.get(engine, (None, now))
        if task is None or task.done():
            self._asked[engine] = asyncio.create_task(self._client.produce_token(data_rank)), now
        elif now - since >= progress.ASKED_SECONDS:
            task.cancel()

    def waits(self, engine: str) -> int:
        """Return how many tokens that were asked for have not come, 0 or 1."""
        return int(engine in self._asked and not self._asked[engine][0].done())

    async def close(self) -> None:
        """Ask for nothing more."""
        tasks = [task for task, _ in self._asked.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
