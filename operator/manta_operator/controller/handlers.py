"""The kopf side: one daemon per LLMDeployment, and the events that wake it. No decision is made here.

Imported by `run`, which starts kopf; kopf finds the handlers in its registry.
"""

import asyncio
import contextlib
import logging
import tempfile
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import kopf

from manta_operator.api import names
from manta_operator.controller.client import KubeClient
from manta_operator.controller.credentials import Credentials
from manta_operator.controller.deletion import FINALIZER, Farewell
from manta_operator.controller.deployments import Deployments, scale_writers, shared
from manta_operator.controller.facts_sources import sourcing
from manta_operator.controller.kinds import CHILD_KINDS
from manta_operator.controller.kopf_session import FirstAttempts, patiently
from manta_operator.controller.loop import STOP_SECONDS, Loop
from manta_operator.controller.probes import progress
from manta_operator.controller.reconcile import Reconciler
from manta_operator.controller.rhythm import Rhythm
from manta_operator.controller.settings import Settings
from manta_operator.controller.store import Store
from manta_operator.controller.watcher import Outage, Watcher

log = logging.getLogger(__name__)

KOPF_RETRY_SECONDS = 5.0
REQUESTS_AT_ONCE = 48
KOPF_REQUESTS_AT_ONCE = 4
_TALKATIVE = ("kopf.objects", "kopf._cogs.clients.watching", "kopf._core.reactor.observation")
"""Loggers of kopf that tell of every attempt of a request."""


@dataclass
class _Parts:
    """What is made at the start, when there is a loop."""

    loop: Loop
    farewell: Farewell


def register(registry: kopf.OperatorRegistry, settings: Settings) -> None:
    """Add Manta's handlers to a kopf registry."""
    deployments = Deployments()
    parts: list[_Parts] = []
    _starting(registry, settings, deployments, parts)

    @kopf.on.event(names.GROUP, names.VERSION, names.PLURAL, registry=registry, id="changed")
    async def changed(event: kopf.RawEvent, **_: Any) -> None:
        """Before kopf looks at the daemon: so a deletion is in order before the finalizer goes, daemon or not."""
        body: dict[str, Any] = event["object"]  # type: ignore[assignment]
        progress.heard(names.KIND)
        # kopf keeps each body for good: without this, four times as much memory as with it.
        writers = scale_writers(body["metadata"].pop("managedFields", None))
        body.update(shared(body))
        if event["type"] == "DELETED":
            deployments.forget(body)
            return
        entry = deployments.see(body, writers)
        if "deletionTimestamp" in body["metadata"]:
            await parts[0].farewell.run(entry)
        else:
            await parts[0].farewell.hold(body)

    @kopf.daemon(
        names.GROUP, names.VERSION, names.PLURAL, registry=registry, id="reconcile",
        cancellation_timeout=2 * STOP_SECONDS,
    )  # fmt: skip
    async def reconcile(namespace: str | None, name: str, uid: str, **_: Any) -> None:
        entry = deployments.get((namespace or "", name))
        if entry is None or entry.uid != uid:
            return  # gone, or another has its name
        with contextlib.suppress(asyncio.CancelledError):  # how kopf says that the object or the operator goes
            await parts[0].loop.run(entry)


def _starting(registry: kopf.OperatorRegistry, ours: Settings, deployments: Deployments, parts: list[_Parts]) -> None:
    """Connect and watch the children at the start; end all of it at the end."""
    stack = AsyncExitStack()
    logins: list[Credentials] = []

    @kopf.on.startup(registry=registry, id="startup")
    async def startup(settings: kopf.OperatorSettings, **_: Any) -> None:
        _configure(settings)
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="manta-")))
        credentials = Credentials(None, None, scratch)
        await credentials.load()
        logins.append(credentials)
        places: tuple[str | None, ...] = ours.namespaces or (None,)
        limit = REQUESTS_AT_ONCE + len(CHILD_KINDS) * len(places)
        session = await stack.enter_async_context(credentials.session(limit=limit))
        client = KubeClient(session, credentials.server)
        store = Store(deployments.wake, places)
        rhythm = Rhythm(ours.resync_seconds)
        sources = await stack.enter_async_context(sourcing(client, ours, deployments))
        reconciler = Reconciler(client, store, sources, rhythm, ours.namespace)
        stack.push_async_callback(reconciler.close)
        parts.append(_Parts(Loop(reconciler, store, rhythm), Farewell(client, store)))
        outage = Outage()
        for kind in CHILD_KINDS:
            for place in places:
                task = asyncio.create_task(Watcher(client, store, kind, place, outage, deployments.wake_all).run())
                stack.callback(task.cancel)

    @kopf.on.login(registry=registry, id="login")
    async def login(**_: Any) -> kopf.AiohttpSession:
        credentials = logins[0]
        # Few: a thousand new objects want their finalizer at once, and a connection is a handshake and a buffer.
        limit = KOPF_REQUESTS_AT_ONCE + 2 * max(1, len(ours.namespaces))
        session = credentials.session(patiently, limit=limit)
        return kopf.AiohttpSession(server=credentials.server, aiohttp_session=session)

    @kopf.on.cleanup(registry=registry, id="cleanup")
    async def cleanup(**_: Any) -> None:
        await stack.aclose()


class _Endless:
    """Pauses between tries of kopf's own requests: it would give up, and the operator with it."""

    def __iter__(self) -> Iterator[float]:
        pause = 0.5
        while True:
            yield pause
            pause = min(pause * 2, KOPF_RETRY_SECONDS)


class _NoDiffs(kopf.DiffBaseStorage):
    """kopf compares every body with the one before for handlers that we do not have; this spares us the copies."""

    def build(self, **_: Any) -> kopf.BodyEssence:
        return kopf.BodyEssence({})

    def fetch(self, **_: Any) -> kopf.BodyEssence | None:
        return None

    def store(self, **_: Any) -> None:
        return None


def _configure(settings: kopf.OperatorSettings) -> None:
    for name in _TALKATIVE:
        logging.getLogger(name).addFilter(FirstAttempts())
    settings.persistence.finalizer = FINALIZER
    settings.persistence.diffbase_storage = _NoDiffs()
    settings.peering.standalone = True
    settings.posting.enabled = False  # kopf's own events would repeat the log
    settings.execution.max_workers = 4
    settings.networking.error_backoffs = _Endless()
    settings.networking.connect_timeout = 5.0
    settings.networking.request_timeout = 30.0
    settings.watching.chunk_size = 500
    settings.queueing.exit_timeout = STOP_SECONDS
    settings.queueing.idle_timeout = 1.0  # a worker costs more than the next one
