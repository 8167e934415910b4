"""How a write is meant, and what of an object no write may touch: the rules of operations.py that are pure."""

from dataclasses import dataclass, field
from typing import Any

from manta_operator.box.apiserver.authentication import User
from manta_operator.box.apiserver.errors import bad_request, conflict, invalid
from manta_operator.box.apiserver.resources import Resource
from manta_operator.schema.errors import FieldError
from manta_operator.schema.json_copy import json_copy

Object = dict[str, Any]
FIXED_META = ("uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation")


@dataclass(frozen=True)
class Write:
    """How a write is meant; `warnings` gathers what its client shall be told."""

    manager: str = "manta-box"
    subresource: str = ""
    dry_run: bool = False
    field_validation: str = "Warn"
    force: bool = False
    patch: bool = False
    user: User | None = None
    """Who writes; None: a part of the box itself."""
    warnings: list[str] = field(default_factory=list, compare=False)


def protected(resource: Resource, old: Object, obj: Object, how: Write) -> Object:
    """Return the new object with everything this write must not touch taken from the old one; ApiError 409 or 422."""
    _check_preconditions(resource, old, obj, how)
    if how.subresource == "status":
        kept = {key: value for key, value in old.items() if key != "status"}
        merged = json_copy({**kept, **({"status": obj["status"]} if "status" in obj else {})})
    else:
        merged = json_copy(obj)
        if resource.status:
            merged.pop("status", None)
            if "status" in old:
                merged["status"] = json_copy(old["status"])
        if resource.kind == "Service":
            _keep_address(old, merged)
    meta = merged["metadata"]
    for name in FIXED_META:
        meta.pop(name, None)
        if name in old["metadata"]:
            meta[name] = old["metadata"][name]
    if "namespace" in old["metadata"]:
        meta["namespace"] = old["metadata"]["namespace"]
    meta["resourceVersion"] = old["metadata"]["resourceVersion"]
    return merged


def _check_preconditions(resource: Resource, old: Object, obj: Object, how: Write) -> None:
    given = obj["metadata"].get("resourceVersion")
    name = old["metadata"]["name"]
    if given and given != old["metadata"]["resourceVersion"]:
        raise conflict(resource, name)
    uid = obj["metadata"].get("uid")
    if uid and uid != old["metadata"]["uid"]:
        if how.patch:
            raise invalid(
                resource, name, [FieldError("metadata.uid", "Invalid value", "field is immutable", f'"{uid}"')]
            )
        why = f"Precondition failed: UID in precondition: {uid}, UID in object meta: {old['metadata']['uid']}"
        raise conflict(resource, name, why)


def _keep_address(old: Object, new: Object) -> None:
    if not isinstance(new.get("spec"), dict):
        return
    external = new["spec"].get("type") == "ExternalName"
    for name in ("clusterIP", "clusterIPs"):
        if external:
            new["spec"].pop(name, None)
        elif name in old["spec"]:
            new["spec"].setdefault(name, json_copy(old["spec"][name]))


def settle_namespace(resource: Resource, meta: Object, namespace: str | None) -> None:
    """Put the request's namespace into an object's metadata; ApiError 400 if the object names another."""
    if not resource.namespaced:
        meta.pop("namespace", None)
    elif meta.setdefault("namespace", namespace or "default") != (namespace or meta["namespace"]):
        raise bad_request(
            f"the namespace of the provided object ({meta['namespace']}) is not the request's ({namespace})"
        )


def check_finalizers(resource: Resource, old: Object, obj: Object) -> None:
    """Let nobody add a finalizer to what is being deleted; ApiError 422."""
    if "deletionTimestamp" not in old["metadata"]:
        return
    new = set(obj["metadata"].get("finalizers") or ()) - set(old["metadata"].get("finalizers") or ())
    if new - {"foregroundDeletion", "orphan"}:
        why = "no new finalizers can be added if the object is being deleted"
        raise invalid(resource, obj["metadata"]["name"], [FieldError("metadata.finalizers", "Forbidden", why)])


def content(obj: Object) -> Object:
    """Return an object without what the server counts and keeps itself."""
    hidden = ("managedFields", "resourceVersion", "generation")
    return {**obj, "metadata": {key: value for key, value in obj["metadata"].items() if key not in hidden}}


def without_status(resource: Resource, obj: Object) -> Object:
    """Return the part of an object whose changes `metadata.generation` counts."""
    ignored = {"metadata", "apiVersion"} | ({"status"} if resource.status else set())
    return {key: value for key, value in obj.items() if key not in ignored}
