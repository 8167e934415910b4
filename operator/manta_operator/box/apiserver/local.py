"""The in-process face of the API server: cluster.Cluster on top of operations.py."""

from collections.abc import AsyncIterator, Mapping
from typing import Any

from manta_operator.box.apiserver.errors import not_found
from manta_operator.box.apiserver.operations import Operations, table_of
from manta_operator.box.apiserver.patches import MERGE, patched
from manta_operator.box.apiserver.resources import Resource
from manta_operator.box.apiserver.writes import Write
from manta_operator.box.cluster import ApiError, Event, Object
from manta_operator.schema.json_copy import json_copy


class LocalCluster:
    """Implements cluster.Cluster; every object that goes out is a copy."""

    def __init__(self, operations: Operations) -> None:
        self._ops = operations

    def get(self, kind: str, namespace: str | None, name: str) -> Object:
        """Read one object; ApiError 404 if there is none."""
        return json_copy(self._ops.read(self._resource(kind), namespace, name))

    def find(self, kind: str, namespace: str | None, name: str) -> Object | None:
        """Read one object, None if there is none; a kind that is not served has none."""
        try:
            return self.get(kind, namespace, name)
        except ApiError as error:
            if error.code != 404:
                raise
            return None

    def list(self, kind: str, namespace: str | None = None, selector: Mapping[str, str] | None = None) -> list[Object]:
        """All objects of a kind, oldest first."""
        wanted = (selector or {}).items()
        objects = self._ops.store.objects(table_of(self._resource(kind)), namespace)
        return [json_copy(obj) for _, obj in objects if wanted <= (obj["metadata"].get("labels") or {}).items()]

    def create(self, obj: Object) -> Object:
        """Create an object."""
        resource = self._resource_of(obj)
        return json_copy(self._ops.create(resource, obj["metadata"].get("namespace"), json_copy(obj), Write()))

    def update(self, obj: Object) -> Object:
        """Replace all but status."""
        return self._update(obj, Write())

    def update_status(self, obj: Object) -> Object:
        """Replace the status alone."""
        return self._update(obj, Write(subresource="status"))

    def _update(self, obj: Object, how: Write) -> Object:
        meta = obj["metadata"]
        resource = self._resource_of(obj)
        return json_copy(self._ops.update(resource, meta.get("namespace"), meta["name"], json_copy(obj), how))

    def patch(self, kind: str, namespace: str | None, name: str, patch: Object) -> Object:
        """JSON merge patch of all but status."""
        return self._patch(kind, namespace, name, patch, Write())

    def patch_status(self, kind: str, namespace: str | None, name: str, patch: Object) -> Object:
        """JSON merge patch of the status."""
        return self._patch(kind, namespace, name, patch, Write(subresource="status"))

    def _patch(self, kind: str, namespace: str | None, name: str, patch: Object, how: Write) -> Object:
        resource = self._resource(kind)
        old = self._ops.read(resource, namespace, name)
        new = patched(MERGE, {}, old, patch, custom=resource.crd is not None)
        return json_copy(self._ops.update(resource, namespace, name, new, how))

    def delete(
        self, kind: str, namespace: str | None, name: str, *, grace_seconds: int | None = None, uid: str | None = None
    ) -> None:
        """Delete an object."""
        options: dict[str, Any] = {"gracePeriodSeconds": grace_seconds, "preconditions": {"uid": uid}}
        self._ops.deletion.delete(self._resource(kind), namespace, name, options)

    async def watch(self, *kinds: str) -> AsyncIterator[Event]:
        """Every object of these kinds ("*": of all kinds) as ADDED, then each later change."""
        everything = kinds == ("*",)
        tables = None if everything else frozenset(table_of(self._resource(kind)) for kind in kinds)
        subscription = self._ops.store.subscribe(tables)
        try:
            seen = dict.fromkeys(table_of(r) for r in self._ops.registry) if tables is None else dict.fromkeys(tables)
            for obj in [obj for table in seen for _, obj in self._ops.store.objects(table)]:
                yield Event("ADDED", json_copy(obj))
            while (change := await subscription.queue.get()) is not None:
                yield Event(change.type, json_copy(change.object))
        finally:
            subscription.close()

    def _resource(self, kind: str) -> Resource:
        found = self._ops.registry.named(kind)
        if found is None:
            raise ApiError(
                404, "NotFound", f"the API server serves no kind {kind}: create its CustomResourceDefinition first"
            )
        return found

    def _resource_of(self, obj: Object) -> Resource:
        group, _, version = str(obj["apiVersion"]).rpartition("/")
        for resource in self._ops.registry:
            if (resource.group, resource.version, resource.kind) == (group, version, obj["kind"]):
                return resource
        raise not_found(self._resource(obj["kind"]), obj["apiVersion"])
