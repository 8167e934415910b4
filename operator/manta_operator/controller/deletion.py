"""What happens when an LLMDeployment is deleted: its children leave in an order in which nothing in flight is lost.

The router first, which finishes what it has accepted; when its pods are gone the groups, which drain; when theirs are
gone the LLMDeployment may go, and the API server's garbage collector takes the rest along. Each step has an end: how
long draining may take, counted from the time of the deletion, so that restarts of the operator change nothing.
"""

import asyncio
import logging
import time
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from manta_operator.api import names
from manta_operator.controller.children import Child
from manta_operator.controller.client import KubeClient
from manta_operator.controller.deployments import Entry
from manta_operator.controller.errors import ClusterError
from manta_operator.controller.store import Store

Object = dict[str, Any]
log = logging.getLogger(__name__)

FINALIZER = f"{names.GROUP}/operator"
MARGIN_SECONDS = 30.0
"""What a step may take beyond the drain: controllers and kubelets have to notice, too."""
LOOK_SECONDS = 0.25
RETRY_SECONDS = 5.0
_STEPS = (("Deployment", names.COMPONENT_ROUTER), ("StatefulSet", names.COMPONENT_ENGINE))


class Farewell:
    """Takes the children of a deleted LLMDeployment away, and returns when it may go. Never raises."""

    def __init__(self, client: KubeClient, store: Store) -> None:
        self._client, self._store = client, store

    async def run(self, entry: Entry) -> None:
        """Take the children away in order, unless they are to be left as orphans."""
        metadata = entry.body["metadata"]
        if FINALIZER not in (metadata.get("finalizers") or ()):
            return  # somebody has released it
        entry.leaving = True
        if "orphan" in metadata["finalizers"]:
            log.info("%s/%s: deleted, and its children are to stay", *entry.key)
            return
        async with entry.turn:
            pass  # a pass under way has ended; no other begins
        began = datetime.fromisoformat(metadata["deletionTimestamp"]).timestamp()
        patience = _drain_seconds(entry.body) + MARGIN_SECONDS
        for number, (kind, component) in enumerate(_STEPS, start=1):
            await self._step(entry, kind, component, began + number * patience)
        log.info("%s/%s: deleted; its router and groups are gone", *entry.key)

    async def _step(self, entry: Entry, kind: str, component: str, deadline: float) -> None:
        told = ""
        again = 0.0
        while time.time() < deadline:
            if await _within(self._store.ready(), LOOK_SECONDS):
                left = [each for each in self._mine(entry, kind) if not self._store.going(each)]
                if left and time.monotonic() >= again:
                    told = await self._delete(entry, left, told)
                    again = time.monotonic() + RETRY_SECONDS
                if not left and not self._pods(entry, component) and not any(self._mine(entry, kind)):
                    return
            await asyncio.sleep(LOOK_SECONDS)
        log.warning("%s/%s: not every %s of it has gone in time; the rest is left to itself", *entry.key, kind)

    async def _delete(self, entry: Entry, children: Iterable[Child], told: str) -> str:
        for each in children:
            try:
                await self._client.delete("apps/v1", each.kind, each.namespace, each.name, each.uid)
            except ClusterError as error:
                if error.message != told:
                    log.warning("%s/%s: %s", *entry.key, error)
                told = error.message
            else:
                self._store.expect_gone(each.uid)
        return told

    def _mine(self, entry: Entry, kind: str) -> list[Child]:
        return [each for each in self._store.of(entry.key).values() if each.kind == kind and each.owner == entry.uid]

    def _pods(self, entry: Entry, component: str) -> bool:
        return any(each.kind == "Pod" and each.component == component for each in self._store.of(entry.key).values())


async def _within(waiting: Any, seconds: float) -> bool:
    try:
        await asyncio.wait_for(waiting, seconds)
    except TimeoutError:
        return False
    return True


def _drain_seconds(body: Object) -> float:
    """Read the field alone: the rest of the spec may be of a version that this operator cannot read."""
    try:
        return float(body["spec"]["rollout"]["drainSeconds"])
    except (KeyError, TypeError, ValueError):
        return 60.0
