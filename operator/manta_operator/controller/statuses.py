"""The status of an LLMDeployment: written last in a pass and only if it changed; then the events it tells."""

import hashlib
import logging
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from manta_operator.api import names
from manta_operator.controller import metrics
from manta_operator.controller.client import KubeClient
from manta_operator.controller.deployments import Entry, version_of
from manta_operator.controller.errors import ClusterError, Conflict, Missing, Transient
from manta_operator.controller.probes import progress
from manta_operator.planning.conditions import Condition, merge
from manta_operator.planning.events import Event, events
from manta_operator.planning.fit_errors import errors

Object = dict[str, Any]
log = logging.getLogger(__name__)
COMPONENT = "manta-operator"
_MESSAGE_LIMIT = 1024
"""Characters that the API server accepts of an event's message."""


class Statuses:
    """Writes statuses and publishes events."""

    def __init__(self, client: KubeClient) -> None:
        self._client = client

    async def write(self, entry: Entry, after: Object) -> bool:
        """Write a status that differs from the present one; return False if the object is gone. Raises ClusterError."""
        before = entry.status()
        metrics.judged(entry.key, _ready(after))
        metrics.predicted(entry.key, _fits(after))
        if after == before:
            return True
        namespace, name = entry.key
        document = {
            "apiVersion": names.API_VERSION,
            "kind": names.KIND,
            "metadata": {"name": name, "namespace": namespace, "uid": entry.uid},
            "status": after,
        }
        try:
            answer = await self._client.apply(document, subresource="status")
        except (Missing, Conflict) as error:  # of another object; or of a webhook, of a CRD that is just being changed
            if await self.there(entry):
                raise Transient(error.message, error.retry_after) from error
            return False
        if version_of(answer) not in (entry.memory.version, version_of(entry.body)):  # else no event will come
            progress.wrote(names.KIND)
        entry.memory.status, entry.memory.version = answer.get("status") or {}, version_of(answer)
        if (after.get("fit") or {}).get("actual") != (before.get("fit") or {}).get("actual"):
            metrics.measured(errors(after.get("fit") or {}))
        for event in events(before, after, time.time()):
            await self._publish(entry, event)
        return True

    async def there(self, entry: Entry) -> bool:
        """Ask the API server whether the object is still this one and is to stay.

        Raises:
            ClusterError: it cannot be known; that the kind is not served says nothing about the object.
        """
        live = await self._client.get(names.API_VERSION, names.KIND, *entry.key)
        if live is None and not await self._client.serves(names.API_VERSION, names.KIND):
            raise Transient(f"the API server does not serve {names.KIND}; is its CRD being replaced?")
        return live is not None and live["metadata"]["uid"] == entry.uid and "deletionTimestamp" not in live["metadata"]

    async def report(self, entry: Entry, reason: str, message: str) -> None:
        """Say in the conditions why nothing can be judged, and leave the rest of the status as it stands."""
        before = entry.status()
        said = (Condition("Reconciled", "False", reason, message), Condition("Ready", "False", reason, message))
        old = before.get("conditions") or ()
        generation = entry.body["metadata"].get("generation", 0)
        new = {each["type"]: each for each in merge(said, old, generation, timestamp())}
        kept = [new.pop(each["type"], each) for each in old]
        try:
            await self.write(entry, before | {"conditions": [*kept, *new.values()]})
        except ClusterError as error:
            log.warning("%s/%s: %s", *entry.key, error)

    async def _publish(self, entry: Entry, event: Event) -> None:
        """Create one event. Its name follows from what it says and of which status, so none is told twice."""
        now = timestamp()
        about = [entry.uid, entry.memory.version, event.type, event.reason, event.message]
        digest = hashlib.sha256(repr(about).encode()).hexdigest()[:16]
        namespace, name = entry.key
        document = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": f"{name}.{digest}", "namespace": namespace},
            "involvedObject": {
                "apiVersion": names.API_VERSION,
                "kind": names.KIND,
                "name": name,
                "namespace": namespace,
                "uid": entry.uid,
            },
            "type": event.type,
            "reason": event.reason,
            "message": event.message[:_MESSAGE_LIMIT],
            "source": {"component": COMPONENT},
            "reportingComponent": COMPONENT,
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
        }
        try:
            await self._client.create(document)
        except ClusterError as error:  # the status says it all the same
            log.info("%s/%s: event %s was not published: %s", namespace, name, event.reason, error)


def timestamp(seconds: float | None = None) -> str:
    """Return a time in RFC 3339, UTC, seconds; now without an argument (epoch seconds)."""
    moment = datetime.now(UTC) if seconds is None else datetime.fromtimestamp(seconds, UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _fits(status: Object) -> str:
    """Return the verdict about what is asked for now: `fit` stays that of the replicas where no plan can be made."""
    for condition in status.get("conditions") or ():
        if condition["type"] == "Planned" and condition["reason"] == "DoesNotFit" and condition["status"] == "False":
            return "False"
    return str((status.get("fit") or {}).get("fits", "Unknown"))


def _ready(status: Mapping[str, Any]) -> metrics.Judgement:
    found = (each["status"] for each in status.get("conditions") or () if each["type"] == "Ready")
    judgement: metrics.Judgement = next(found, "Unknown")
    return judgement
