"""Which of several operators acts: the one that holds a Lease. Decisions here; requests go through `leader_api`.

A candidate never compares its clock with another's. It watches the Lease, and takes it only when the Lease has not
changed for as long as its holder asked for, measured by the candidate's own monotonic clock. The holder gives up
sooner than that (`deadline` < `duration`), so for a moment nobody leads. Every write names the version that was read,
so of two candidates the API server lets one through. A process that was frozen may still send what it had under way
before it notices that another leads: ADR 0011 says why that does no harm.
"""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from typing import Any, Protocol

from manta_operator.controller.errors import ClusterError

Object = dict[str, Any]
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Terms:
    """Who wants which Lease, and the times in seconds, client-go's own: it lasts, must be renewed by, is tried every.

    Raises:
        ValueError: the times do not leave room for each other.
    """

    namespace: str
    name: str
    identity: str
    duration: float = 15.0
    deadline: float = 10.0
    retry: float = 2.0

    def __post_init__(self) -> None:
        if not 0 < self.retry < self.deadline < self.duration:
            raise ValueError("a lease needs retry < deadline < duration")


class LeaseApi(Protocol):
    """The three requests of an election. Each raises ClusterError, a conflict included."""

    async def read(self) -> Object | None:
        """Return the Lease, None if there is none."""

    async def create(self, spec: Object) -> Object:
        """Create the Lease."""

    async def replace(self, spec: Object, version: str) -> Object:
        """Replace its spec if its resourceVersion is still `version`."""


class Step(Enum):
    """What a candidate does about a Lease."""

    CREATE = "create"
    TAKE = "take"
    RENEW = "renew"
    WAIT = "wait"


def judge(identity: str, lease: Mapping[str, Any] | None, unchanged: float) -> Step:
    """Decide what the candidate `identity` does about `lease`, which it has seen unchanged for so many seconds."""
    if lease is None:
        return Step.CREATE
    spec = lease.get("spec") or {}
    holder = spec.get("holderIdentity")
    if holder == identity:
        return Step.RENEW
    if not holder or unchanged >= float(spec.get("leaseDurationSeconds") or 0):
        return Step.TAKE
    return Step.WAIT


def claim(terms: Terms, before: Mapping[str, Any], step: Step, now: datetime) -> Object:
    """Return the spec of the Lease when `terms.identity` holds it from `before` on. Its times are for people only."""
    stamp = now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    kept = step is Step.RENEW
    return {
        "acquireTime": before.get("acquireTime") or stamp if kept else stamp,
        "holderIdentity": terms.identity,
        "leaseDurationSeconds": max(1, round(terms.duration)),
        "leaseTransitions": int(before.get("leaseTransitions") or 0) + (step is Step.TAKE),
        "renewTime": stamp,
    }


class LeaseLost(Exception):
    """The lease could not be renewed in time, or somebody else holds it: this process must not write any more."""


class Elector:
    """Gets the Lease, keeps it, gives it back."""

    def __init__(
        self,
        api: LeaseApi,
        terms: Terms,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._api = api
        self._terms = terms
        self._clock = clock
        self._sleep = sleep
        self._lease: Object | None = None
        self._seen = self._renewed = clock()
        self._told = "nobody has been asked for the lease yet"

    def age(self) -> float:
        """Return how many seconds ago the renewal that succeeded last was sent."""
        return self._clock() - self._renewed

    def trouble(self) -> str:
        """Return why the last attempt got no answer it could use; empty if it did, also where another one leads."""
        return self._told

    async def acquire(self) -> None:
        """Wait until this process holds the lease."""
        while not await self._attempt(self._terms.deadline):
            await self._sleep(self._terms.retry * random.uniform(1.0, 1.2))  # noqa: S311 - spreads the candidates

    async def keep(self) -> None:
        """Renew the lease for ever.

        Raises:
            LeaseLost: not renewed for `deadline` seconds, or taken by another.
        """
        while True:
            await self._sleep(self._terms.retry)
            left = self._terms.deadline - self.age()
            if left > 0 and await self._attempt(left):
                continue
            if self._holder() != self._terms.identity:
                raise LeaseLost(f"the lease was taken by {self._holder() or 'nobody, it was released'}")
            if self.age() >= self._terms.deadline:
                raise LeaseLost(f"the lease was renewed {self.age():.0f} s ago; {self._told or 'this process hung'}")

    async def release(self) -> None:
        """Give the lease back, so that a standby takes it at once; if that fails it runs out by itself."""
        if self._lease is None or self._holder() != self._terms.identity:
            return
        spec = self._lease["spec"] | {"holderIdentity": "", "leaseDurationSeconds": 1}
        try:
            async with asyncio.timeout(self._terms.retry):
                self._see(await self._api.replace(spec, self._lease["metadata"]["resourceVersion"]))
        except (ClusterError, TimeoutError) as error:
            log.warning("lease not released, it runs out by itself: %s", str(error) or "no answer in time")

    async def _attempt(self, seconds: float) -> bool:
        """Try once to get or renew the lease, for at most `seconds`; return whether we hold it."""
        sent = self._clock()
        try:
            async with asyncio.timeout(seconds):
                held = await self._try()
        except (ClusterError, TimeoutError) as error:
            self._tell(str(error) or f"the API server did not answer for {seconds:.0f} s")
            return False
        self._told = ""
        if held:
            self._renewed = sent  # when it was sent: others count from no earlier
        return held

    async def _try(self) -> bool:
        self._see(await self._api.read())
        step = judge(self._terms.identity, self._lease, self._clock() - self._seen)
        if step is Step.WAIT:
            return False
        before = (self._lease or {}).get("spec") or {}
        spec = claim(self._terms, before, step, datetime.now(UTC))
        if self._lease is None:
            self._see(await self._api.create(spec))
        else:
            self._see(await self._api.replace(spec, self._lease["metadata"]["resourceVersion"]))
        return True

    def _see(self, lease: Object | None) -> None:
        """Note when the Lease changed, by our own clock."""
        if lease is None or self._lease is None or _version(lease) != _version(self._lease):
            self._seen = self._clock()
        self._lease = lease

    def _holder(self) -> str:
        return str(((self._lease or {}).get("spec") or {}).get("holderIdentity") or "")

    def _tell(self, sentence: str) -> None:
        if sentence != self._told:
            log.warning("lease %s/%s: %s", self._terms.namespace, self._terms.name, sentence)
        self._told = sentence


def _version(lease: Mapping[str, Any]) -> str:
    return str(lease["metadata"]["resourceVersion"])
