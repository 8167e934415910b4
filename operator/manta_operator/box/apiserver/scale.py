"""The scale subresource: one small object in front of three fields of another. Pure."""

from collections.abc import Mapping
from typing import Any

from manta_operator.box.apiserver.errors import bad_request, invalid_kind
from manta_operator.box.apiserver.resources import Resource
from manta_operator.box.apiserver.selectors import field_value, selector_text
from manta_operator.schema.errors import FieldError
from manta_operator.schema.json_copy import json_copy

_META = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")


def scale_of(resource: Resource, obj: Mapping[str, Any]) -> dict[str, Any]:
    """Return the Scale of an object."""
    paths = resource.scale
    assert paths is not None  # noqa: S101 - asked by the handler
    selector = field_value(obj, paths.selector) if paths.selector else ""
    if resource.crd is None:
        selector = selector_text(obj["spec"].get("selector"))
    status = {"replicas": int(field_value(obj, paths.status_replicas) or 0)}
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {key: obj["metadata"][key] for key in _META if key in obj["metadata"]},
        "spec": {"replicas": int(field_value(obj, paths.spec_replicas) or 0)},
        "status": {**status, "selector": selector} if selector else status,
    }


def with_scale(resource: Resource, obj: Mapping[str, Any], scale: Any) -> dict[str, Any]:
    """Return the object with the replicas a Scale asks for; ApiError 400 or 422 if it asks for none."""
    paths = resource.scale
    assert paths is not None  # noqa: S101 - asked by the handler
    if not isinstance(scale, Mapping) or not all(
        isinstance(scale.get(key, {}), Mapping) for key in ("metadata", "spec")
    ):
        raise bad_request("a Scale, its metadata and its spec must be objects")
    replicas = scale.get("spec", {}).get("replicas", 0)
    if not isinstance(replicas, int) or isinstance(replicas, bool):
        raise bad_request("spec.replicas of a Scale must be a number")
    if replicas < 0 and resource.crd is None:  # a custom object is judged whole, by admission.py
        error = FieldError("spec.replicas", "Invalid value", "must be greater than or equal to 0", str(replicas))
        raise invalid_kind("Scale", "autoscaling", obj["metadata"]["name"], [error])
    changed: dict[str, Any] = json_copy(dict(obj))
    *above, last = paths.spec_replicas.strip(".").split(".")
    place = changed
    for part in above:
        place = place.setdefault(part, {})
    place[last] = replicas
    given = scale.get("metadata", {}).get("resourceVersion")
    if given:
        changed["metadata"]["resourceVersion"] = given
    return changed


def negative(resource: Resource, obj: Mapping[str, Any]) -> list[FieldError]:
    """Return what is wrong with the replicas of a custom object that scales: they may not be negative."""
    if resource.scale is None:
        return []
    path = resource.scale.spec_replicas
    replicas = field_value(obj, path)
    if not (replicas.startswith("-") and replicas[1:].isdigit()):
        return []
    return [FieldError(path, "Invalid value", "should be a non-negative integer", replicas)]
