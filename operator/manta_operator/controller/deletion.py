"""What happens when an LLMDeployment is deleted: its children leave in an order in which nothing in flight is lost.

The router first, which finishes what it has accepted; when its pods are gone the groups, which drain; when theirs are
gone the LLMDeployment may go, and the API server's garbage collector takes the rest along. Nobody waits for a pod on
a lost node. Each step waits no longer than holding and draining may take, counted from the time of the deletion, so
that restarts of the operator change nothing.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pydantic

from manta_operator.api import names
from manta_operator.api.models import parse
from manta_operator.builders.router_config import longest_hold
from manta_operator.controller.children import Child
from manta_operator.controller.client import KubeClient
from manta_operator.controller.deployments import Entry
from manta_operator.controller.errors import ClusterError
from manta_operator.controller.store import Store
from manta_operator.controller.surroundings import Surroundings
from manta_operator.placement.nodes import lost_nodes
from manta_operator.planning.observe_pods import observe_pod

Object = dict[str, Any]
log = logging.getLogger(__name__)

FINALIZER = f"{names.GROUP}/operator"
MARGIN_SECONDS = 30.0
"""What a step may take beyond the drain: controllers and kubelets have to notice, too."""
_UNREADABLE_SECONDS = 60.0
"""Taken for a time that cannot be read."""
SIGHT_SECONDS = 10.0
"""How long the children may take to be seen where it is late already: the operator was away."""
LOOK_SECONDS = 0.25
HOLDS_AT_ONCE = 8
"""Finalizers put at the same time: a thousand new LLMDeployments must not take every connection from the passes."""
RETRY_SECONDS = 5.0
_STEPS = (("Deployment", names.COMPONENT_ROUTER), ("StatefulSet", names.COMPONENT_ENGINE))


class Farewell:
    """Takes the children of a deleted LLMDeployment away, and returns when it may go. Never raises."""

    def __init__(self, client: KubeClient, store: Store) -> None:
        self._client, self._store = client, store
        self._surroundings = Surroundings(client)
        self._holds = asyncio.Semaphore(HOLDS_AT_ONCE)

    async def hold(self, body: Object) -> None:
        """Put our finalizer on before a child is made, and into `body`, where kopf looks for it.

        kopf does the same, but after the first pass has begun, and by comparing two copies of the body. It still does
        where this fails.
        """
        metadata = body["metadata"]
        finalizers = [*(metadata.get("finalizers") or ()), FINALIZER]
        if FINALIZER in finalizers[:-1]:
            return
        # With the version, since others put theirs into the list too.
        kept = {key: metadata[key] for key in ("name", "namespace", "uid", "resourceVersion")}
        wanted = kept | {"finalizers": finalizers}
        async with self._holds:
            with contextlib.suppress(ClusterError):
                await self._client.merge({"apiVersion": names.API_VERSION, "kind": names.KIND, "metadata": wanted})
                metadata["finalizers"] = finalizers

    async def run(self, entry: Entry) -> None:
        """Take the children away in order, unless they are to be left as orphans."""
        metadata = entry.body["metadata"]
        if FINALIZER not in (metadata.get("finalizers") or ()):
            return  # somebody has released it
        entry.leaving = True
        if "orphan" in metadata["finalizers"]:
            entry.orphaning = True
            log.info("%s/%s: deleted, and its children are to stay", *entry.key)
        if entry.orphaning:
            return  # also when the garbage collector has taken `orphan` off and we have not
        async with entry.turn:
            pass  # a pass under way has ended; no other begins
        began = datetime.fromisoformat(metadata["deletionTimestamp"]).timestamp()
        deadline = began + self._hold_seconds(entry)
        for kind, component in _STEPS:
            deadline += _seconds(entry.body, "rollout", "drainSeconds") + MARGIN_SECONDS
            await self._step(entry, kind, component, deadline)
        log.info("%s/%s: deleted; its router and groups are gone", *entry.key)

    def _hold_seconds(self, entry: Entry) -> float:
        """Return how long routers may hold requests: where no replica comes any more, waiting for one is no use."""
        if any(self._mine(entry, "StatefulSet")):
            with contextlib.suppress(pydantic.ValidationError):
                return longest_hold(parse(entry.body))
        return _seconds(entry.body, "router", "hold", "seconds")

    async def _step(self, entry: Entry, kind: str, component: str, deadline: float) -> None:
        """Delete the children of a kind, however late it is, then wait for their pods until the deadline."""
        await _within(self._store.ready(entry.key[0]), max(SIGHT_SECONDS, deadline - time.time()))
        told, again, lost = "", 0.0, frozenset[str]()
        while True:
            if time.monotonic() >= again:
                lost = await self._lost(entry, component) if again else lost
                told = await self._delete(entry, kind, told)
                again = time.monotonic() + RETRY_SECONDS
            seen = await _within(self._store.ready(entry.key[0]), LOOK_SECONDS)
            if seen and not any(self._mine(entry, kind)) and not any(self._awaited(entry, kind, component, lost)):
                return
            if time.time() >= deadline:
                break
            await asyncio.sleep(LOOK_SECONDS)
        log.warning("%s/%s: not every %s of it has gone in time; the rest is left to itself", *entry.key, kind)

    async def _delete(self, entry: Entry, kind: str, told: str) -> str:
        for each in self._mine(entry, kind):
            if self._store.going(each):
                continue
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

    def _pods(self, entry: Entry, component: str) -> list[Child]:
        children = self._store.of(entry.key).values()
        return [each for each in children if each.kind == "Pod" and each.component == component]

    def _awaited(self, entry: Entry, kind: str, component: str, lost: frozenset[str]) -> Iterator[Child]:
        """Yield the pods that end, but for those that never will: on lost nodes, or late."""
        if any(each.kind == kind and each.owner != entry.uid for each in self._store.of(entry.key).values()):
            return  # left as orphans, and so are their pods
        now = time.time()
        yield from (each for each in self._pods(entry, component) if not observe_pod(each.body(), now, lost).lost)

    async def _lost(self, entry: Entry, component: str) -> frozenset[str]:
        placed = [each for each in self._pods(entry, component) if each.node]
        since = max((self._store.bound(each.uid) for each in placed), default=0.0)
        nodes = await self._surroundings.nodes(since) if placed else None
        return frozenset() if nodes is None else lost_nodes(nodes, {each.node for each in placed}, time.time())


async def _within(waiting: Any, seconds: float) -> bool:
    try:
        await asyncio.wait_for(waiting, seconds)
    except TimeoutError:
        return False
    return True


def _seconds(body: Object, *path: str) -> float:
    """Read a field of the spec alone: the rest may be of a version that this operator cannot read."""
    value: Any = body["spec"]
    try:
        for name in path:
            value = value[name]
        return float(value)
    except (KeyError, TypeError, ValueError):
        return _UNREADABLE_SECONDS
