"""Questions that wait for something to happen, for some seconds at most: `GET /demand/held` (`picker.py`).

Each is a future that `http.py` cancels when its connection closes; then nothing of it is left here.
"""

import asyncio
from collections.abc import Callable

from manta_runtime.router.picker.http import Answer

SECONDS = 10.0
_MOST = 256
_PLAIN = "text/plain; charset=utf-8"
_TOO_MANY = Answer(503, b"too many wait here already\n", (("retry-after", "1"),), _PLAIN)


class Polls:
    """At most 256 at once; `answer` makes the answer, when it is to be given."""

    def __init__(self, answer: Callable[[], Answer]) -> None:
        self._answer = answer
        self._waiting: dict[asyncio.Future[Answer], asyncio.TimerHandle] = {}
        self._due: asyncio.Handle | None = None

    def __len__(self) -> int:
        return len(self._waiting)

    def wait(self) -> Answer | asyncio.Future[Answer]:
        """Wait until it happens, or until the time is up."""
        if len(self._waiting) >= _MOST:
            return _TOO_MANY
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Answer] = loop.create_future()
        self._waiting[future] = loop.call_later(SECONDS, self._expired, future)
        future.add_done_callback(self._gone)
        return future

    def happened(self) -> None:
        """Answer all that wait, as soon as the one who tells us has done what it tells of."""
        if self._waiting and self._due is None:
            self._due = asyncio.get_running_loop().call_soon(self.answer_all)

    def answer_all(self) -> None:
        """Answer all that wait."""
        self._due = None
        answer = self._answer() if self._waiting else None
        for future in list(self._waiting):
            if answer is not None and not future.done():
                future.set_result(answer)

    def _expired(self, future: asyncio.Future[Answer]) -> None:
        if not future.done():
            future.set_result(self._answer())

    def _gone(self, future: asyncio.Future[Answer]) -> None:
        if (timer := self._waiting.pop(future, None)) is not None:
            timer.cancel()
