"""What each verb does to the store: the rules of reading and writing, the same over HTTP and in process."""

import secrets
import uuid
from dataclasses import replace
from typing import Any

from manta_operator.box.apiserver import admission, crds, escalation, kinds, managed_fields, ssa
from manta_operator.box.apiserver.authorization import Authorizer
from manta_operator.box.apiserver.beginnings import begin, now_text
from manta_operator.box.apiserver.deletion import Deletion
from manta_operator.box.apiserver.errors import already_exists, bad_patch, bad_request, invalid, not_found, untyped
from manta_operator.box.apiserver.managed_fields import Manager, Owners
from manta_operator.box.apiserver.resources import Registry, Resource
from manta_operator.box.apiserver.services import ServiceAddresses
from manta_operator.box.apiserver.store import Key, Object, Store, Table
from manta_operator.box.apiserver.writes import (
    FIXED_META,
    Write,
    check_finalizers,
    content,
    protected,
    settle_namespace,
    without_status,
)
from manta_operator.box.cluster import ApiError
from manta_operator.schema.errors import FieldError
from manta_operator.schema.json_copy import json_copy

_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
_STATUS_META = ("name", "namespace", "uid", "resourceVersion")
_NO_GENERATION = frozenset({"Namespace", "Node", "Service", "PersistentVolumeClaim"})


def table_of(resource: Resource) -> Table:
    """Return where a kind's objects are kept."""
    return resource.group, resource.plural


class Operations:
    """Reads and writes objects of all kinds."""

    def __init__(self, store: Store, registry: Registry, addresses: ServiceAddresses, authorizer: Authorizer) -> None:
        self.store = store
        self.authorizer = authorizer
        self.registry = registry
        self._addresses = addresses
        self.deletion = Deletion(self)

    def key(self, resource: Resource, namespace: str | None, name: str) -> Key:
        """Return an object's key in the store."""
        return (namespace or "default" if resource.namespaced else "", name)

    def read(self, resource: Resource, namespace: str | None, name: str) -> Object:
        """Return an object, shared; ApiError 404."""
        found = self.find(resource, namespace, name)
        if found is None:
            raise not_found(resource, name)
        return self.as_version(resource, found)

    def find(self, resource: Resource, namespace: str | None, name: str) -> Object | None:
        """Return an object as it is stored, shared; None if there is none."""
        return self.store.get(table_of(resource), self.key(resource, namespace, name))

    def as_version(self, resource: Resource, obj: Object) -> Object:
        """Return an object under the version it was asked for (conversion None)."""
        return obj if obj["apiVersion"] == resource.api_version else {**obj, "apiVersion": resource.api_version}

    def create(self, resource: Resource, namespace: str | None, body: Any, how: Write) -> Object:
        """Create an object; ApiError 400, 403, 404, 409 or 422."""
        obj = self._decoded(resource, body, how)
        meta = obj["metadata"]
        settle_namespace(resource, meta, namespace)
        if not meta.get("name") and meta.get("generateName"):
            meta["name"] = meta["generateName"] + "".join(secrets.choice(_ALPHABET) for _ in range(5))
        if not meta.get("name"):
            error = FieldError("metadata.name", "Required value", "name or generateName is required")
            raise invalid(resource, "", [error])
        for field in ("resourceVersion", "managedFields", *FIXED_META):
            meta.pop(field, None)
        return self.insert(resource, obj, how, None)

    def insert(self, resource: Resource, obj: Object, how: Write, owners: Owners | None) -> Object:
        """Store a new, decoded object."""
        meta = obj["metadata"]
        key = self.key(resource, meta.get("namespace"), meta["name"])
        if self.store.get(table_of(resource), key) is not None:
            raise already_exists(resource, meta["name"])
        self._check_namespace(resource, meta)
        if resource.status and resource.kind != "CustomResourceDefinition":
            obj.pop("status", None)
        obj = admission.with_defaults(resource, obj)
        declared = json_copy(obj)  # who creates owns the defaults too, but not what the server says on its own
        begin(resource, obj)
        admission.check(resource, obj, None)
        if how.user is not None:
            escalation.check(self.authorizer, how.user, resource, obj, None)
        served = crds.resources_of(self.registry, obj) if resource.kind == crds.KIND else []
        obj["metadata"] |= {"uid": str(uuid.uuid4()), "creationTimestamp": now_text()}
        if (resource.status or resource.crd) and resource.kind not in _NO_GENERATION:
            obj["metadata"]["generation"] = 1
        node = kinds.root(resource)
        if owners is None:
            manager = Manager(how.manager, "Update", resource.api_version)
            owners = managed_fields.after_update(node, None, declared, manager)
        managed_fields.write(obj, owners, None, now_text())
        if how.dry_run:
            return obj
        if resource.kind == "Service":
            self._addresses.take(obj)
        for kind in served:
            self.registry.add(kind)
        return self.store.put(table_of(resource), key, obj)

    def update(self, resource: Resource, namespace: str | None, name: str, body: Any, how: Write) -> Object:
        """Replace an object, or its status; ApiError 400, 404, 409 or 422."""
        obj = self._decoded(resource, body, how)
        meta = obj["metadata"]
        if meta.setdefault("name", name) != name:
            raise bad_request(f"the name of the object ({meta['name']}) does not match the name on the URL ({name})")
        old = self.read(resource, namespace, name)
        return self.replace(resource, old, obj, how, None)

    def replace(self, resource: Resource, old: Object, obj: Object, how: Write, owners: Owners | None) -> Object:
        """Store a decoded object in the place of `old`."""
        obj = protected(resource, old, obj, how)
        obj = admission.with_defaults(resource, obj)
        if resource.kind == crds.KIND:
            crds.with_names(obj)
        admission.check(resource, obj, old)
        check_finalizers(resource, old, obj)
        if how.user is not None:
            escalation.check(self.authorizer, how.user, resource, obj, old)
        node = kinds.root(resource)
        if content(obj) != content(old):
            if "generation" in old["metadata"] and without_status(resource, obj) != without_status(resource, old):
                obj["metadata"]["generation"] = old["metadata"]["generation"] + 1
            if owners is None:
                manager = Manager(how.manager, "Update", resource.api_version, how.subresource)
                owners = managed_fields.after_update(node, old, obj, manager)
        elif owners is None:
            return old
        managed_fields.write(obj, owners, old, now_text())
        same_meta = {**obj["metadata"], "resourceVersion": ""} == {**old["metadata"], "resourceVersion": ""}
        if same_meta and content(obj) == content(old):
            return old
        if how.dry_run:
            return obj
        if resource.kind == "Service":
            self._addresses.change(old, obj)
        return self._store(resource, obj)

    def _store(self, resource: Resource, obj: Object) -> Object:
        meta = obj["metadata"]
        key = self.key(resource, meta.get("namespace"), meta["name"])
        if resource.kind == crds.KIND:
            served = crds.resources_of(self.registry, obj)
            self.registry.remove(obj["spec"]["group"], obj["spec"]["names"]["plural"])
            for kind in served:
                self.registry.add(kind)
        stored = self.store.put(table_of(resource), key, obj)
        if self.deletion.may_go(resource, stored):
            return self.deletion.remove(resource, key)
        return stored

    def apply(self, resource: Resource, namespace: str | None, name: str, body: Any, how: Write) -> tuple[Object, bool]:
        """Server-side apply; returns the object and whether it is new. ApiError 400, 404, 409, 422 or 500."""
        applied = self._declared(resource, body)
        meta = applied["metadata"]
        if meta.get("managedFields"):
            raise bad_request("metadata.managedFields must be nil")
        if meta.setdefault("name", name) != name:
            raise bad_request(f"the name of the object ({meta['name']}) does not match the name on the URL ({name})")
        settle_namespace(resource, meta, namespace)
        if how.subresource == "status":
            applied = {key: applied[key] for key in ("apiVersion", "kind", "metadata", "status") if key in applied}
            applied["metadata"] = {key: value for key, value in meta.items() if key in _STATUS_META}
        elif resource.status:
            applied.pop("status", None)
        manager = Manager(how.manager, "Apply", resource.api_version, how.subresource)
        node = kinds.root(resource)
        old = self.store.get(table_of(resource), self.key(resource, namespace, name))
        if old is None:
            if how.subresource or meta.get("uid") or meta.get("resourceVersion"):
                raise not_found(resource, name)
            declared = ssa.apply(node, {"metadata": {}}, applied, manager, force=True)
            return self.insert(resource, declared[0], how, declared[1]), True
        old = self.as_version(resource, old)
        merged, owners = ssa.apply(node, old, applied, manager, force=how.force)
        return self.replace(
            resource, old, self._decoded(resource, merged, replace(how, field_validation="Ignore")), how, owners
        ), False

    def _declared(self, resource: Resource, body: Any) -> Object:
        """Decode what is applied: it has no field that its kind does not know; ApiError 400 or 500."""
        try:
            decoded = admission.decode(resource, body)
        except admission.WrongType as error:
            raise untyped(resource, body, f".{error.why}") from error
        if decoded.unknown:
            raise untyped(resource, body, f".{decoded.unknown[0]}: field not declared in schema")
        return decoded.object

    def _decoded(self, resource: Resource, body: Any, how: Write) -> Object:
        try:
            decoded = admission.decode(resource, body)
            how.warnings.extend(admission.judge_unknown(resource, decoded.unknown, how.field_validation))
        except (admission.WrongType, admission.UnknownField) as error:
            if how.patch:
                raise bad_patch(error.why) from error
            raise
        return decoded.object

    def _check_namespace(self, resource: Resource, meta: Object) -> None:
        if not resource.namespaced:
            return
        found = self.store.get(("", "namespaces"), ("", meta["namespace"]))
        if found is None:
            raise ApiError(
                404,
                "NotFound",
                f'namespaces "{meta["namespace"]}" not found',
                {"name": meta["namespace"], "kind": "namespaces"},
            )
        if "deletionTimestamp" in found["metadata"] and resource.kind != "Event":
            why = f"unable to create new content in namespace {meta['namespace']} because it is being terminated"
            raise ApiError(403, "Forbidden", f'{resource.plural} "{meta["name"]}" is forbidden: {why}')

    def release_address(self, service: Object) -> None:
        """Free the address of a Service that is gone."""
        self._addresses.give_back(service)
