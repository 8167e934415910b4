"""Look at vLLM's progress every few seconds, and ask for a token when progress.py wants one. Effects."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING

from manta_runtime.engine.progress import Progress, after_look, describe_stall, wants_token

if TYPE_CHECKING:
    from collections.abc import Callable

    from manta_runtime.engine.vllm_client import VllmClient

log = logging.getLogger("manta.engine")

_LOOK_SECONDS = 5.0


async def watch_progress(client: VllmClient, tell: Callable[[str], None]) -> None:
    """Call `tell` after every look with why vLLM answers nothing, "" when it does; runs until it is cancelled."""
    progress = Progress()
    stall = ""
    asking: asyncio.Task[str] | None = None
    try:
        while True:
            look = await client.look()
            now = time.monotonic()
            if look:
                progress = after_look(progress, look, now)
            before, stall = stall, describe_stall(progress, now)
            if bool(before) != bool(stall):
                log.warning("%s", stall or "vLLM makes progress again")
            tell(stall)
            # One at a time: behind a hang they would only pile up.
            if wants_token(progress, now) and (asking is None or asking.done()):
                asking = asyncio.create_task(client.produce_token())
            await asyncio.sleep(_LOOK_SECONDS)
    finally:
        if asking:
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
