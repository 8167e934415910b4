"""A user's own catalog: a ConfigMap in the operator's namespace, looked at now and then. Its parser is facts/extension.

One object that changes once a month: it is read every half minute instead of watched. When it cannot be read, or says
what is wrong, what was read last stays in force. Entries that are wrong are told in the log, as an event of the
ConfigMap and as a metric; no LLMDeployment is to blame for them.
"""

import asyncio
import contextlib
import hashlib
import logging
from collections.abc import Callable
from typing import Any

from manta_operator.api import names
from manta_operator.controller import metrics
from manta_operator.controller.client import KubeClient
from manta_operator.controller.errors import ClusterError
from manta_operator.controller.statuses import timestamp
from manta_operator.facts.extension import Extension, extend

Object = dict[str, Any]
log = logging.getLogger(__name__)

EVERY_SECONDS = 30.0
FIRST_SECONDS = 5.0
"""How long the first passes wait for it."""
_MESSAGE_LIMIT = 1024
_EVENTS = 5
"""Wrong entries of which each has an event; the log has all that the extension tells of."""


class CatalogMap:
    """The ConfigMap `name`; `changed` is called when what it says is not what it said before.

    Where not `tells`, what is wrong with it is somebody else's to say: the webhook has one in every replica.
    """

    def __init__(
        self,
        client: KubeClient,
        namespace: str,
        name: str,
        changed: Callable[[], None] = lambda: None,
        *,
        tells: bool = True,
    ) -> None:
        self._client, self._namespace, self._name, self._changed = client, namespace, name, changed
        self._tells = tells
        self._version, self._trouble = "", ""
        self._looked, self._read = asyncio.Event(), False
        self.extension = Extension()
        self.where = f"ConfigMap {namespace}/{name}"

    @property
    def unread(self) -> str:
        """Why nothing is known of it yet; empty once it was read, or was not there."""
        return "" if self._read else self._trouble or f"{self.where} has not been read yet"

    async def run(self) -> None:
        """Look at it until cancelled."""
        while True:
            try:
                await self.look()
            except Exception:
                log.exception("reading %s failed, which is a bug; it is read again", self.where)
            self._looked.set()
            await asyncio.sleep(EVERY_SECONDS)

    async def first(self) -> None:
        """Wait until it was looked at once, but not for long."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FIRST_SECONDS):
                await self._looked.wait()

    async def look(self) -> None:
        """Read it, and take over what it says."""
        try:
            body = await self._client.get("v1", "ConfigMap", self._namespace, self._name)
        except ClusterError as error:
            if self._tells and error.message != self._trouble:
                stays = "what was read of it last stays in force" if self._read else "replicas stay what they are"
                log.warning("%s; %s", error.message, stays)
            self._trouble = error.message
            return
        self._trouble = ""
        version = "" if body is None else str(body["metadata"].get("resourceVersion", ""))
        self._read = True
        if version == self._version:
            return
        # In a thread: a megabyte of YAML takes its time.
        new = await asyncio.to_thread(extend, body.get("data") or {}, self.extension) if body else Extension()
        self._version = version
        if self._tells:
            metrics.catalog(len(new.models), len(new.accelerators), len(new.problems))
        if new == self.extension:
            return
        said, self.extension = set(self.extension.problems), new
        self._changed()
        if not self._tells:
            return
        log.info("%s: %d models, %d accelerators", self.where, len(new.models), len(new.accelerators))
        if body:
            await self._complain(body, [problem for problem in new.problems if problem not in said])

    async def _complain(self, body: Object, problems: list[str]) -> None:
        for problem in problems:
            log.warning("%s: %s", self.where, problem)
        for problem in problems[:_EVENTS]:
            try:
                await self._client.create(_event(body, problem))
            except ClusterError as error:
                log.info("%s", error.message)


def _event(body: Object, problem: str) -> Object:
    """Return an event of the ConfigMap, whose name follows from what it says: none is told twice."""
    metadata, now = body["metadata"], timestamp()
    digest = hashlib.sha256(f"{metadata['uid']} {problem}".encode()).hexdigest()[:16]
    about = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "namespace": metadata["namespace"],
        "name": metadata["name"],
        "uid": metadata["uid"],
        "resourceVersion": metadata.get("resourceVersion", ""),
    }
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"{metadata['name']}.{digest}", "namespace": metadata["namespace"]},
        "involvedObject": about,
        "type": "Warning",
        "reason": "InvalidEntry",
        "message": problem[:_MESSAGE_LIMIT],
        "source": {"component": names.FIELD_MANAGER},
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
    }
