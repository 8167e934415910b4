"""Requests at a rate, whatever becomes of them (open loop): a slow answer makes no later request wait."""

import asyncio
import random
import time
from collections.abc import Callable
from typing import Self

import aiohttp

from traffic.request import TIMEOUT, Outcome, cancel, make_request, send

_FINISH_SECONDS = 100.0
_LOOK_SECONDS = 0.25
"""How often a rate that changes is looked at while it is low."""
_NOTHING = 1e-9


class Load:
    """Sends requests to the Service of `model` at `url`, from `async with` until `finish`.

    `rate`: requests a second; a function says it anew for each of them, and 0 for none. `timeout`: seconds that a
    client waits.
    """

    def __init__(
        self, url: str, model: str, rate: float | Callable[[], float], run: str, timeout: float | None = None
    ) -> None:
        self._url, self._model, self._run = url, model, run
        self._rate = rate if callable(rate) else lambda: rate
        self._timeout = TIMEOUT if timeout is None else aiohttp.ClientTimeout(total=timeout, sock_connect=10)
        self._chance = random.Random(run)  # noqa: S311 - repeatable, not secret
        self._open: set[asyncio.Task[Outcome]] = set()
        self.outcomes: list[Outcome] = []
        self.problem: BaseException | None = None

    async def __aenter__(self) -> Self:
        # Fresh connections and kept ones meet different troubles: nobody answers, or somebody has just hung up.
        keep = aiohttp.TCPConnector(limit=0, keepalive_timeout=60)
        self._kept = aiohttp.ClientSession(connector=keep)
        self._fresh = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0, force_close=True))
        self._sender = asyncio.create_task(self._send_for_ever())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._sender.cancel()
        await asyncio.gather(self._sender, return_exceptions=True)
        await cancel(self._open)
        await asyncio.gather(self._kept.close(), self._fresh.close())

    async def finish(self, seconds: float = _FINISH_SECONDS) -> None:
        """Send no more, and wait for the answers still to come, so many seconds at most."""
        self._sender.cancel()
        await asyncio.gather(self._sender, return_exceptions=True)
        if self._open:
            await asyncio.wait(self._open, timeout=seconds)

    @property
    def open(self) -> int:
        """Requests that have not been answered yet."""
        return len(self._open)

    async def quiet(self, began: float) -> None:
        """Wait until every request sent before `began` (monotonic seconds) has been answered."""
        while self._open and min(self._starts.values(), default=began) < began:
            await asyncio.wait(self._open, timeout=0.2, return_when=asyncio.FIRST_COMPLETED)

    async def _send_for_ever(self) -> None:
        self._starts: dict[asyncio.Task[Outcome], float] = {}
        due, number = time.monotonic(), 0
        while True:
            left = self._chance.expovariate(1.0)  # of the area under the rate, until the next request
            while left > _NOTHING:
                rate = self._rate()
                step = min(left / rate, _LOOK_SECONDS) if rate else _LOOK_SECONDS
                left -= step * rate
                due = max(due + step, time.monotonic() - 0.5)
                await asyncio.sleep(max(0.0, due - time.monotonic()))
            request = make_request(number, self._run, self._chance)
            session = self._fresh if request.fresh else self._kept
            task = asyncio.create_task(send(session, self._url, self._model, request, self._timeout))
            self._open.add(task)
            self._starts[task] = time.monotonic()
            task.add_done_callback(self._note)
            number += 1

    def _note(self, task: asyncio.Task[Outcome]) -> None:
        self._open.discard(task)
        self._starts.pop(task, None)
        if task.cancelled():
            return
        if (error := task.exception()) is not None:
            self.problem = self.problem or error
        else:
            self.outcomes.append(task.result())
