"""How the parts of a box end: cancelled, given seconds, cancelled again, and named if they go on all the same.

`box.py` calls it last, when no pod runs any more; a part that does not end must not keep `manta up` from doing so.
"""

import asyncio
import logging
from collections.abc import Iterable

_SECONDS = 3.0
_TIMES = 2

log = logging.getLogger(__name__)


async def end_tasks(tasks: Iterable[asyncio.Task[None]], seconds: float = _SECONDS) -> None:
    """Cancel the tasks and return when they have ended, after twice `seconds` at the latest; what goes on is logged."""
    running = {task for task in tasks if not task.done()}
    for _ in range(_TIMES):
        if not running:
            return
        for task in running:
            task.cancel()
        _, running = await asyncio.wait(running, timeout=seconds)
    for task in running:
        log.error(
            "%s did not end within %.0f s of being told to and is left behind, a bug; it stands at %s",
            task.get_name(),
            _TIMES * seconds,
            _place(task),
        )


def _place(task: asyncio.Task[None]) -> str:
    frames = task.get_stack()
    return f"{frames[-1].f_code.co_filename}:{frames[-1].f_lineno}" if frames else "an unknown place"
