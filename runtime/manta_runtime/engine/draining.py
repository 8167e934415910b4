"""Carry out a drain: look at vLLM four times a second, do what drain.py decides. Effects."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from manta_runtime.engine.drain import DrainStep, DrainView, count_words, decide

if TYPE_CHECKING:
    from manta_runtime.engine.journal import Journal
    from manta_runtime.engine.processes import Child
    from manta_runtime.engine.settings import EngineSettings
    from manta_runtime.engine.stop import Stop
    from manta_runtime.engine.vllm_client import VllmClient

log = logging.getLogger("manta.engine")

_LOOK_SECONDS = 0.25
_REPORT_SECONDS = 10.0
_STOP_GRACE = 10.0


async def drain_engine(settings: EngineSettings, vllm: Child, client: VllmClient, stop: Stop, journal: Journal) -> str:
    """Wait until vLLM is idle and stop it; past the drain deadline (seconds from now), or when hurried, kill it.

    The journal is told of every look. Returns when vLLM is gone, also when it ends by itself meanwhile: a sentence
    about the requests that were cut off, "" for none.
    """
    log.info("draining: not ready any more, waiting for what is in flight")
    step = await _wait_until_idle(settings, vllm, client, stop, journal)
    if step is None:
        journal.drain_engine_died()
        cut = f"vLLM ended by itself while draining, code {vllm.exit_code}"
        cut += f", {count_words(journal.in_flight)} in flight were cut off"
        log.warning(cut)
        journal.drain_cuts_off()
        journal.drain_ends(killed=True)
        return cut if journal.in_flight else ""
    if step.action == "kill":
        log.warning(step.message)
        journal.drain_cuts_off()
        journal.drain_ends(killed=True)
        await vllm.kill()
        return step.message if journal.in_flight != 0 else ""
    log.info("%s, stopping vLLM", step.message)
    journal.drain_ends(killed=False)
    await vllm.stop(_STOP_GRACE)
    return ""


async def _wait_until_idle(
    settings: EngineSettings, vllm: Child, client: VllmClient, stop: Stop, journal: Journal
) -> DrainStep | None:
    started = reported = restless = time.monotonic()
    begun: float | None = None
    while vllm.exit_code is None:
        before, (in_flight, begun) = begun, await client.activity()
        now = time.monotonic()
        if in_flight != 0 or begun != before:
            restless = now
        journal.drain_looks(now - started, in_flight)
        # A signal that asked for the drain was the first; one more hurries, also when a worker's leaving began it.
        view = DrainView(
            elapsed=now - started,
            announced=stop.asked.is_set(),
            deadline=settings.drain_seconds,
            in_flight=in_flight,
            quiet=now - restless,
            hurried=stop.hurried.is_set(),
        )
        step = decide(view)
        if step.action != "wait":
            return step
        if now - reported >= _REPORT_SECONDS:
            reported = now
            log.info(step.message)
        with suppress(TimeoutError):
            async with asyncio.timeout(_LOOK_SECONDS):
                await stop.hurried.wait()
    return None
