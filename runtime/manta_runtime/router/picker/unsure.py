"""Requests for a model that no replica has named yet, while some have not said which they serve: who knows, they may.

A picker that starts knows the base model's names, and the adapters a moment later; until then nobody is told that a
model does not exist. Where replicas have to be started first, that moment comes when one is there. Part of `decide.py`;
each of these requests has a future, which is answered with news, or in time.
"""

import asyncio
import math
from collections.abc import Callable

from manta_runtime.router.config import HoldConfig
from manta_runtime.router.picker import decision as decisions
from manta_runtime.router.picker.access import Access
from manta_runtime.router.picker.decision import Decision, Refused
from manta_runtime.router.picker.holding import MOST_BYTES, Asked, Holding

_SECONDS = 5.0  # a replica that has not told its models by then does not answer
Future = asyncio.Future[Decision]


class Unsure:
    """At most as many and as large as may be held.

    `start` goes on with one that may; `counted` notes a refusal, and returns it; `waits` hears that one more waits.
    """

    def __init__(
        self,
        hold: HoldConfig,
        holding: Holding,
        access: Access,
        start: Callable[[Asked, float], Decision | Future],
        counted: Callable[[Refused], Refused],
        waits: Callable[[], None],
    ) -> None:
        self._most, self._holding = hold.queue_size, holding
        self._seconds = min(_SECONDS, hold.longest_seconds)
        self._access, self._start, self._counted, self._waits = access, start, counted, waits
        self._waiting: dict[Future, Asked] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def oldest(self) -> float:
        """When the one came that waits longest; infinite: none waits."""
        return next((asked.at for asked in self._waiting.values()), math.inf)

    def enter(self, asked: Asked) -> Decision | Future:
        """Let it wait, if it may."""
        self._waits()
        held = sum(other.size for other in self._waiting.values())
        if not self._holding.seconds or len(self._waiting) >= self._most or held + asked.size > MOST_BYTES:
            return self._counted(decisions.models_unknown(asked.request.model))
        future: Future = asyncio.get_running_loop().create_future()
        self._waiting[future] = asked
        future.add_done_callback(lambda done: self._waiting.pop(done, None))
        return future

    def news(self, now: float) -> None:
        """A replica has told its models, or time has passed."""
        if not self._waiting:
            return
        for future, asked in list(self._waiting.items()):
            unsure = self._access.is_unsure(asked.tenant, asked.request)
            if not future.done() and (not unsure or self._is_over(asked, now)):
                del self._waiting[future]
                _answer(future, self._decide(asked, now, unsure=unsure))

    def _is_over(self, asked: Asked, now: float) -> bool:
        if self._holding.wakes:  # nobody is there to tell
            return now >= asked.at + self._holding.seconds
        return now >= max(asked.at, self._holding.served_at) + self._seconds

    def _decide(self, asked: Asked, now: float, *, unsure: bool) -> Decision | Future:
        if unsure:
            return self._counted(decisions.models_unknown(asked.request.model))
        refused = self._access.may(asked.tenant, asked.request, b"", now)
        return self._start(asked, now) if refused is None else self._counted(refused)


def _answer(future: Future, decision: Decision | Future) -> None:
    """Answer `future` with the decision, once there is one; who leaves now leaves that."""
    if not isinstance(decision, asyncio.Future):
        future.set_result(decision)
        return

    def decided(held: Future) -> None:
        if not held.cancelled() and not future.done():
            future.set_result(held.result())

    decision.add_done_callback(decided)
    future.add_done_callback(lambda done: decision.cancel() if done.cancelled() else None)
