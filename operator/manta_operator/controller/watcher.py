"""Keeps the store up to date: lists a kind once, then watches it for ever, whatever the API server does meanwhile.

Not kopf's own watching: see docs/adr/0010. One task for each kind and namespace; it never ends and never raises.
"""

import asyncio
import logging
import random
import time
from collections.abc import Callable

from manta_operator.controller.client import SILENCE_SECONDS, KubeClient, Object
from manta_operator.controller.errors import ClusterError, Expired, Forbidden, Missing, Transient, Unauthorized
from manta_operator.controller.kinds import OURS, ChildKind
from manta_operator.controller.probes import progress
from manta_operator.controller.store import NEWER_THAN_ALL, Source, Store

log = logging.getLogger(__name__)

FIRST_RETRY_SECONDS = 0.5
LONGEST_RETRY_SECONDS = 5.0
"""So that an outage of hours costs little and is over within seconds of its end."""
ABSENT_SECONDS = 60.0
"""How often it is looked whether a CRD has come."""
UNLISTED_SECONDS = 10.0
"""How long a list may fail before the kind counts as one that cannot be seen: the others need not wait for it."""


class Watcher:
    """One kind in one namespace, or in all; `turned` is called when it can be seen that could not, or the reverse."""

    def __init__(
        self,
        client: KubeClient,
        store: Store,
        kind: ChildKind,
        namespace: str | None,
        outage: "Outage",
        turned: Callable[[], None] = lambda: None,
    ) -> None:
        self._client, self._store, self._kind, self._namespace = client, store, kind, namespace
        self._outage, self._turned, self._absent = outage, turned, False
        self._source: Source = (kind.kind, namespace)
        self._version = ""
        self._failures, self._since, self._said = 0, 0.0, ""

    async def run(self) -> None:
        """Watch until cancelled."""
        while True:
            try:
                if not self._version:
                    await self._list()
                await self._follow()
            except Expired:
                self._version = ""
                await asyncio.sleep(FIRST_RETRY_SECONDS)
            except ClusterError as error:
                # Where nobody answers the version stays good: the watch goes on from there without a list.
                if isinstance(error, Missing | Forbidden):
                    self._version = ""
                await asyncio.sleep(self._pause(error))
            except Exception as error:
                log.exception("watching %s failed, which is a bug; it starts again", self._kind.kind)
                self._version = ""
                self._blind(ClusterError(f"watching {self._kind.kind} failed, which is a bug: {error!r}"))
                await asyncio.sleep(LONGEST_RETRY_SECONDS)

    async def _list(self) -> None:
        uids: set[str] = set()
        version, newest = "", self._store.newest(self._source)
        pages = self._client.pages(self._kind.api_version, self._kind.kind, self._namespace, OURS)
        rewound = False
        async for items, version in pages:
            rewound = version.isdecimal() and int(version) < newest
            for body in items:
                uids.add(self._store.put(self._kind.kind, body, rewound=rewound).uid)
        if rewound:
            log.warning("%s: the API server knows less than before, as after a restore; it is right", self._kind.kind)
        listed = int(version) if version.isdecimal() else 0
        self._store.listed(self._source, uids, NEWER_THAN_ALL if rewound else listed)
        self._version = version
        if self._absent:
            log.info("%s has come", self._kind.kind)
            self._absent = False
            self._turned()
        self._heard()

    async def _follow(self) -> None:
        kind, began, heard = self._kind, time.monotonic(), False
        stream = self._client.watch(kind.api_version, kind.kind, self._namespace, OURS, self._version, self._opened)
        try:
            async for event in stream:
                heard = True
                self._take(event)
                self._version = event["object"]["metadata"]["resourceVersion"]
        finally:
            if not heard and time.monotonic() - began >= SILENCE_SECONDS:
                self._version = ""  # not even a bookmark: to a restored API server our version lies in the future
        if time.monotonic() - began < FIRST_RETRY_SECONDS:  # a stream that ends at once must not become a busy loop
            await asyncio.sleep(FIRST_RETRY_SECONDS)

    def _take(self, event: Object) -> None:
        body = event["object"]
        progress.heard(self._kind.kind)
        if event["type"] in ("ADDED", "MODIFIED"):
            self._store.put(self._kind.kind, body)
        elif event["type"] == "DELETED":
            metadata = body["metadata"]
            self._store.remove(self._kind.kind, metadata["namespace"], metadata["name"], metadata["uid"])

    def _pause(self, error: ClusterError) -> float:
        if not self._failures:
            self._since = time.monotonic()
        self._failures += 1
        if isinstance(error, Missing) and self._kind.optional:
            self._absent = True
            self._store.unseen(self._source, None)
            return ABSENT_SECONDS
        lasts = not self._version and time.monotonic() - self._since >= UNLISTED_SECONDS
        if isinstance(error, Forbidden) or lasts:
            self._blind(error)
        self._say(error)
        longest = min(FIRST_RETRY_SECONDS * 2.0 ** min(self._failures - 1, 8), LONGEST_RETRY_SECONDS)
        return max(longest * random.uniform(0.5, 1.0), error.retry_after or 0.0)  # noqa: S311 - spreads load

    def _blind(self, error: ClusterError) -> None:
        if isinstance(error, Forbidden):
            progress.blind(self._source, error.message)
        if self._store.unseen(self._source, error):
            self._turned()

    def _say(self, error: ClusterError) -> None:
        """Log trouble once for as long as it lasts; that the API server is away, or does not know us, once for all."""
        if type(error) is Transient or isinstance(error, Unauthorized):
            self._outage.begins(self, error.message)
        elif not self._said:
            log.warning("%s", error.message)
            self._said = error.message

    def _opened(self) -> None:
        progress.sees(self._source)
        if self._store.watched(self._source):
            self._turned()
        self._heard()

    def _heard(self) -> None:
        self._outage.ends(self)
        if self._said:
            log.info("watching %s again", self._kind.kind)
        self._failures, self._said = 0, ""


class Outage:
    """Whether the API server is away: one line when the first watch loses it, one when the last has it again."""

    def __init__(self) -> None:
        self._since = 0.0
        self._without: set[Watcher] = set()

    def begins(self, watcher: Watcher, message: str) -> None:
        """Note that a watch cannot go on."""
        if not self._without:
            self._since = time.monotonic()
            log.warning("%s; trying again, at least every %g s", message, LONGEST_RETRY_SECONDS)
        self._without.add(watcher)

    def ends(self, watcher: Watcher) -> None:
        """Note that a watch goes on."""
        if watcher in self._without:
            self._without.discard(watcher)
            if not self._without:
                log.info("everything is watched again, after %.0f s", time.monotonic() - self._since)
