"""Deleting: at once, or marked and left to finalizers, to the kubelet (pods) or to the namespace controller."""

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from manta_operator.box.apiserver import crds
from manta_operator.box.apiserver.errors import conflict
from manta_operator.box.apiserver.resources import Resource
from manta_operator.box.apiserver.store import Key, Object
from manta_operator.schema.json_copy import json_copy

if TYPE_CHECKING:
    from manta_operator.box.apiserver.operations import Operations

_PROPAGATION = {"Foreground": "foregroundDeletion", "Orphan": "orphan"}


class Deletion:
    """What a delete does."""

    def __init__(self, operations: "Operations") -> None:
        self._ops = operations

    def delete(
        self, resource: Resource, namespace: str | None, name: str, options: dict[str, Any], *, dry_run: bool = False
    ) -> Object:
        """Delete an object, or mark it; returns its last or its new state.

        Args:
            resource: Its kind.
            namespace: Its namespace.
            name: Its name.
            options: A DeleteOptions: gracePeriodSeconds, propagationPolicy, preconditions.
            dry_run: Say what would be, change nothing.

        Raises:
            ApiError: 404; 409 if a precondition does not hold.
        """
        old = self._ops.read(resource, namespace, name)
        for field, wanted in (options.get("preconditions") or {}).items():
            if wanted is not None and old["metadata"].get(field) != wanted:
                now = old["metadata"].get(field)
                why = f"Precondition failed: {field} in precondition: {wanted}, in object meta: {now}"
                raise conflict(resource, name, why)
        if dry_run:
            return old
        marked = self._marked(resource, old, options)
        key = self._ops.key(resource, namespace, name)
        if self.may_go(resource, marked):
            return self.remove(resource, key)
        if marked == old:
            return old
        return self._ops.store.put((resource.group, resource.plural), key, marked)

    def _marked(self, resource: Resource, old: Object, options: dict[str, Any]) -> Object:
        obj = json_copy(old)
        meta = obj["metadata"]
        grace = self._grace(resource, obj, options.get("gracePeriodSeconds"))
        if "deletionTimestamp" not in meta:
            meta["deletionTimestamp"] = _after(grace)
            meta["deletionGracePeriodSeconds"] = grace
            if "generation" in meta:
                meta["generation"] += 1
        elif grace < meta.get("deletionGracePeriodSeconds", 0):
            meta["deletionTimestamp"] = _after(grace)
            meta["deletionGracePeriodSeconds"] = grace
        finalizer = _PROPAGATION.get(options.get("propagationPolicy") or "")
        if finalizer and finalizer not in meta.get("finalizers", ()):
            meta["finalizers"] = [*meta.get("finalizers", ()), finalizer]
        if resource.kind == "Namespace":
            obj["status"] = {**obj.get("status", {}), "phase": "Terminating"}
        return obj

    def _grace(self, resource: Resource, obj: Object, wanted: int | None) -> int:
        if resource.kind != "Pod" or not obj["spec"].get("nodeName"):
            return 0
        if obj.get("status", {}).get("phase") in ("Succeeded", "Failed"):
            return 0
        if wanted is None:
            return int(obj["spec"].get("terminationGracePeriodSeconds", 30))
        return max(0, wanted)

    def may_go(self, resource: Resource, obj: Object) -> bool:
        """Whether nothing holds a deleted object any more."""
        meta = obj["metadata"]
        if "deletionTimestamp" not in meta or meta.get("finalizers"):
            return False
        if resource.kind == "Namespace":
            return not obj.get("spec", {}).get("finalizers")
        return resource.kind != "Pod" or not meta.get("deletionGracePeriodSeconds")

    def remove(self, resource: Resource, key: Key) -> Object:
        """Take an object out of the store, with what cannot be without it."""
        table = (resource.group, resource.plural)
        last = self._ops.store.remove(table, key)
        if resource.kind == "Service":
            self._ops.release_address(last)
        elif resource.kind == "Namespace":
            for kind in {(r.group, r.plural): r for r in self._ops.registry if r.namespaced}.values():
                for inner, _ in list(self._ops.store.objects((kind.group, kind.plural), key[1])):
                    self.remove(kind, inner)
        elif resource.kind == crds.KIND:
            group, plural = last["spec"]["group"], last["spec"]["names"]["plural"]
            for inner, _ in list(self._ops.store.objects((group, plural))):
                self._ops.store.remove((group, plural), inner)
            self._ops.registry.remove(group, plural)
        return last


def _after(seconds: int) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")
