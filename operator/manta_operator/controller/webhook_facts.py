"""What the webhook knows of a model: what is known already, or comes within a second. It never waits for longer.

An API server waits three seconds for the whole answer, and people wait for it. What comes later is for the next write,
and for the operator's own passes. Hubs are asked without anybody's token: whoever reaches the port may ask about a
model, and must not learn through us what another one's Secret opens.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from manta_operator.controller.client import KubeClient
from manta_operator.controller.deployments import Deployments
from manta_operator.controller.facts_sources import Sources, sourcing
from manta_operator.controller.run_startup import Link
from manta_operator.controller.settings import Settings
from manta_operator.controller.webhook_server import Known
from manta_operator.planning.admission import Evidence
from manta_operator.planning.known import asked_of

PATIENCE_SECONDS = 1.0
READS_AT_ONCE = 64
"""Reads that go on after nobody waits for them any more; with so many no other one is begun."""


class Evidences:
    """Answers from the sources of facts."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._reading: set[asyncio.Task[object]] = set()

    async def known(self, body: Mapping[str, Any]) -> Evidence:
        """Return what is known of the model of an LLMDeployment, within `PATIENCE_SECONDS`."""
        asked, key = replace(asked_of(body), secret=None), (body["metadata"]["namespace"], body["metadata"]["name"])
        if len(self._reading) < READS_AT_ONCE:
            task: asyncio.Task[object] = asyncio.create_task(self._sources.read(asked, key))
            self._reading.add(task)
            task.add_done_callback(self._done)
            await asyncio.wait({task}, timeout=PATIENCE_SECONDS)
        found = self._sources.known(asked)
        return Evidence(found.facts, found.trouble, found.why, found.accelerators, found.unread)

    def _done(self, task: "asyncio.Task[object]") -> None:
        self._reading.discard(task)
        if not task.cancelled():
            task.exception()  # a pass meets it again, and tells of it


@asynccontextmanager
async def evidence(to: Link, settings: Settings) -> AsyncIterator[Known]:
    """Open sources for the webhook alone: a replica that waits for the lease has no others.

    What is wrong with a catalog is told by the replica that leads, from its own.
    """
    async with sourcing(KubeClient(to.session, to.server), settings, Deployments(), tells=False) as sources:
        yield Evidences(sources).known
