"""The requests that wait: each has a future, which is answered when its turn comes, its time is up or it gives way.

Its time: `hold.seconds`. With `hold.wakeSeconds` (the deployment goes to zero), while no replica is usable:

    until  =  came + wakeSeconds

and once there are, for those that came before (the others have hold.seconds as ever), so that nobody is sent away at
the moment the first replica is ready, nor waits longer than Envoy does:

    until  =  min(max(came + wakeSeconds, first usable + seconds), came + wakeSeconds + seconds)

Glue between the pure queue (`queue.py`) and whoever awaits: a future that is cancelled (the client left) leaves the
queue. Also knows how fast the queue drains, for Retry-After.
"""

import asyncio
import math
from collections.abc import Iterator
from functools import partial

import msgspec

from manta_runtime.router.cache.response_cache import Miss
from manta_runtime.router.config import HoldConfig
from manta_runtime.router.picker.decision import Decision
from manta_runtime.router.picker.limits import Charge
from manta_runtime.router.picker.queue import Entry, FairQueue, Refusal
from manta_runtime.router.picker.request import Request
from manta_runtime.router.picker.tenants import Tenant

_ANSWER_TOKENS = 256  # assumed of an answer whose length the client does not limit
_ANSWER_TOKENS_MOST = 2048  # many clients ask for as much as the model could ever write
_RETRY_AFTER_MOST = 60
MOST_BYTES = 256 << 20  # of bodies: Envoy keeps each three times while it is held
_RATE_SECONDS = 5.0  # over which the drain rate is taken


class Asked(msgspec.Struct, eq=False):
    """A request that was let in, on its way to a replica. `at`: when it came. `size`: of its body, in bytes."""

    request_id: str
    tenant: Tenant
    request: Request
    at: float
    subset: tuple[str, ...] | None
    explain: bool
    miss: Miss | None
    charge: Charge | None = None
    future: asyncio.Future[Decision] | None = None
    size: int = 0

    @property
    def cost(self) -> int:
        """Tokens, estimated: what its place in the queue is worth."""
        reserve = min(self.request.max_tokens or _ANSWER_TOKENS, _ANSWER_TOKENS_MOST)
        return self.request.prompt_tokens + reserve


class Holding:
    """At most `queueSize` requests and `MOST_BYTES`. `seconds`: how long one that comes now may wait; 0: not at all.

    `wakes`: no replica is usable, and requests may wait for one to be started.
    """

    def __init__(self, hold: HoldConfig) -> None:
        self._hold = hold
        self._wake = max(hold.wake_seconds, hold.seconds) if hold.wake_seconds else 0
        self.wakes = bool(self._wake)
        self.seconds = self._wake or hold.seconds
        self.served_at = -math.inf
        """Since when replicas are usable again, with wakeSeconds."""
        self._queue: FairQueue[Asked] = FairQueue(hold.queue_size if self.seconds else 0)
        self._rate = 0.0
        self._taken_at = 0.0
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._queue)

    def serve(self, *, usable: bool, now: float) -> None:
        """Whether replicas are usable from now on."""
        if self._wake and usable == self.wakes:
            self.wakes = not usable
            self.seconds = self._wake if self.wakes else self._hold.seconds
            if usable:
                self.served_at = now
                self._queue.set_apart()

    def enter(self, asked: Asked, now: float) -> tuple[asyncio.Future[Decision] | Refusal, Entry[Asked] | None]:
        """Let it wait. Returns its future or why it may not, and an entry that had to give way (not yet answered)."""
        tenant = asked.tenant
        if self._bytes + asked.size > MOST_BYTES:
            return "queue_full", None
        entered, pushed = self._queue.offer(
            asked, tenant.name, asked.cost, now, weight=tenant.weight, priority=tenant.priority
        )
        if not isinstance(entered, Entry):
            return entered, None
        self._bytes += asked.size
        asked.future = asyncio.get_running_loop().create_future()
        asked.future.add_done_callback(partial(self._done, entered))
        return asked.future, pushed

    def _done(self, entry: Entry[Asked], future: asyncio.Future[Decision]) -> None:  # noqa: ARG002 - asyncio passes it
        self._bytes -= entry.item.size
        self._queue.remove(entry)

    def head(self) -> Asked | None:
        """Whose turn it is."""
        while (entry := self._queue.peek()) is not None:
            if entry.item.future is not None and not entry.item.future.done():
                return entry.item
            self._queue.remove(entry)
        return None

    def take(self, now: float) -> None:
        """The head's turn has come."""
        self._queue.take()
        passed = max(now - self._taken_at, 1e-3)
        self._rate = self._rate * math.exp(-passed / _RATE_SECONDS) + 1 / _RATE_SECONDS
        self._taken_at = now

    def expired(self, now: float) -> Iterator[Asked]:
        """Those whose time is up, out of the queue."""
        apart = now - self.seconds
        if self._wake and not self.wakes:
            more = 0 if now >= self.served_at + self.seconds else self.seconds
            apart = now - self._wake - more
        for entry in self._queue.expired(now - self.seconds, apart):
            yield entry.item

    def waiting(self) -> dict[str, int]:
        """How many wait, by tenant."""
        return self._queue.waiting()

    def oldest(self) -> float:
        """When the one came that waits longest; infinite: none waits."""
        return self._queue.oldest()

    def retry_after(self, now: float) -> int:
        """Seconds until a queue as long as this one has drained, as fast as it drains."""
        rate = self._rate * math.exp(-(now - self._taken_at) / _RATE_SECONDS)
        seconds = (len(self._queue) + 1) / rate if rate > 0 else math.inf
        return max(1, min(_RETRY_AFTER_MOST, self.seconds or 1, math.ceil(min(seconds, _RETRY_AFTER_MOST))))
