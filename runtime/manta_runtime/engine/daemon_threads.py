"""Reading from volumes, which may hang for ever, without keeping this process from ending.

asyncio.to_thread is not fit for that: asyncio.run waits for its threads without a limit, so that a launcher that has
failed would neither end nor say why.
"""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

_T = TypeVar("_T")


async def in_daemon_thread(work: Callable[..., _T], *args: Any) -> _T:
    """Return or raise what `work` does, in a thread of its own; if nobody waits any more it is left to itself."""
    loop = asyncio.get_running_loop()
    found: asyncio.Future[_T] = loop.create_future()

    def settle(outcome: Callable[[], None]) -> None:
        if not found.cancelled():
            outcome()

    def run() -> None:
        try:
            outcome = partial(found.set_result, work(*args))
        except Exception as error:  # noqa: BLE001 - raised where it is waited for
            outcome = partial(found.set_exception, error)
        with suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(settle, outcome)

    threading.Thread(target=run, name=getattr(work, "__name__", "work"), daemon=True).start()
    return await found
