"""Brings the children to what was desired. One object that is refused does not stop the others.

A child is written only if what we want of it has changed, if it is gone, or if the store shows that somebody has
changed it since the API server answered us. So a quiet world is not written to at all.
"""

from dataclasses import dataclass, field
from typing import Any

from manta_operator.api.models import LLMDeployment
from manta_operator.controller.children import Child, ChildName, fingerprint
from manta_operator.controller.client import KubeClient
from manta_operator.controller.errors import Conflict, InvalidObject
from manta_operator.controller.ownership import Strangers, ensure_ours, not_owned
from manta_operator.controller.probes import progress
from manta_operator.controller.store import Store

Object = dict[str, Any]


@dataclass(slots=True)
class Applied:
    """What was applied to one deployment's children; losing it costs one apply of each, which changes nothing.

    `objects`: for each child the fingerprint of what was wanted, and the digest of what the API server made of it.
    """

    objects: dict[ChildName, tuple[bytes, bytes]] = field(default_factory=dict)


class Applier:
    """Writes one child at a time."""

    def __init__(self, client: KubeClient, store: Store) -> None:
        self._client, self._store = client, store
        self._strangers = Strangers(client)

    async def apply(self, obj: Object, deployment: LLMDeployment, applied: Applied) -> bool:
        """Apply one object if that can change anything; return whether it did not exist before. Raises ClusterError."""
        metadata, kind = obj["metadata"], obj["kind"]
        key = (kind, metadata["name"])
        found = self._store.find(kind, metadata["namespace"], metadata["name"])
        wanted = fingerprint(obj)
        if found is not None:
            ensure_ours(found, deployment.uid, deployment.name)
            if self._store.going(found):
                return False  # made anew when it is gone: that wakes us
            if applied.objects.get(key) == (wanted, found.digest):
                return False
        else:
            await self._strangers.check(obj, deployment.uid)
        with self._store.writing(kind, metadata["namespace"], metadata["name"]):
            made = self._store.put(kind, await self._write(obj, found), answer=True)
        if found is None or made.version != found.version:
            progress.wrote(kind)
        applied.objects[key] = (wanted, made.digest)
        return found is None

    async def _write(self, obj: Object, found: Child | None) -> Object:
        if found is None:
            try:
                return await self._client.apply(obj, force=False)
            except Conflict:
                await self._refuse_stranger(obj)
        try:
            return await self._client.apply(obj)
        except InvalidObject:
            if found is None:
                await self._refuse_stranger(obj)
                raise
            # Somebody changed a key of a list: a Service's port 8000 became 9999, and applying ours adds a second one
            # of the same name. A merge patch replaces the list; then it is ours again.
            await self._client.merge(obj)
            return await self._client.apply(obj)

    async def _refuse_stranger(self, obj: Object) -> None:
        """Judge an object that came about just now, or that we made and the store has not heard of."""
        metadata = obj["metadata"]
        live = await self._client.get(obj["apiVersion"], obj["kind"], metadata["namespace"], metadata["name"])
        if live is None:
            return
        owners = live["metadata"].get("ownerReferences") or ()
        ours = metadata["ownerReferences"][0]["uid"]
        if not any(ref.get("controller") and ref["uid"] == ours for ref in owners):
            raise not_owned(obj, owners)
