"""Look at vLLM's progress every few seconds, and ask for a token when progress.py wants one. Effects."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING

from manta_runtime.engine.progress import Progress, after_look, describe_stalls, wants_token

if TYPE_CHECKING:
    from collections.abc import Callable

    from manta_runtime.engine.vllm_client import VllmClient

log = logging.getLogger("manta.engine")

_LOOK_SECONDS = 5.0


async def watch_progress(client: VllmClient, tell: Callable[[str], None]) -> None:
    """Call `tell` after every look with why vLLM answers nothing, "" when it does; runs until it is cancelled."""
    engines: dict[str, Progress] = {}
    asking: dict[str, asyncio.Task[str]] = {}
    stall = ""
    try:
        while True:
            looks = await client.look()
            now = time.monotonic()
            for engine, look in looks.items():
                engines[engine] = after_look(engines.get(engine, Progress()), look, now)
            before, stall = stall, describe_stalls(engines, now)
            if bool(before) != bool(stall):
                log.warning("%s", stall or "vLLM makes progress again")
            tell(stall)
            for engine, progress in engines.items():
                # One at a time of each: behind a hang they would only pile up.
                if wants_token(progress, now) and (engine not in asking or asking[engine].done()):
                    data_rank = int(engine) if len(engines) > 1 else None
                    asking[engine] = asyncio.create_task(client.produce_token(data_rank))
            await asyncio.sleep(_LOOK_SECONDS)
    finally:
        for task in asking.values():
            task.cancel()
        await asyncio.gather(*asking.values(), return_exceptions=True)
