"""The paths of one group version in OpenAPI's two dialects. Used by `openapi`.

kubectl looks here for three things: which kind answers a path (`explain`), whether a PATCH or POST knows
fieldValidation and dryRun (else it validates on its own side), and which patch types a kind takes.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from manta_operator.box.apiserver.openapi_schemas import (
    DELETE_OPTIONS,
    EVICTION,
    PATCH,
    SCALE,
    STATUS,
    Dialect,
    name_of,
)
from manta_operator.box.apiserver.resources import Resource
from manta_operator.box.cluster import Object

_JSON = "application/json"
_PATCH_TYPES = ("application/json-patch+json", "application/merge-patch+json", "application/apply-patch+yaml")
_STRATEGIC = "application/strategic-merge-patch+json"
_WRITE = {"dryRun": "string", "fieldManager": "string", "fieldValidation": "string"}
_LIST = {
    "allowWatchBookmarks": "boolean",
    "continue": "string",
    "fieldSelector": "string",
    "labelSelector": "string",
    "limit": "integer",
    "resourceVersion": "string",
    "resourceVersionMatch": "string",
    "sendInitialEvents": "boolean",
    "timeoutSeconds": "integer",
    "watch": "boolean",
}
_DELETE = {
    "dryRun": "string",
    "gracePeriodSeconds": "integer",
    "orphanDependents": "boolean",
    "propagationPolicy": "string",
}


@dataclass(frozen=True)
class _Action:
    """What one verb does: HTTP method, x-kubernetes-action, query parameters, whether it acts on the collection."""

    method: str
    action: str
    query: dict[str, str]
    of_list: bool = False


_ACTIONS = {
    "list": _Action("get", "list", _LIST, of_list=True),
    "create": _Action("post", "post", _WRITE),
    "deletecollection": _Action("delete", "deletecollection", _LIST | _DELETE),
    "get": _Action("get", "get", {}),
    "update": _Action("put", "put", _WRITE),
    "patch": _Action("patch", "patch", _WRITE | {"force": "boolean"}),
    "delete": _Action("delete", "delete", _DELETE),
}
_COLLECTION = ("list", "create", "deletecollection")
_ITEM = ("get", "update", "patch", "delete")


@dataclass(frozen=True)
class _Answer:
    """What a path reads and writes: the schema's name and the kind."""

    schema: str | None
    group: str
    version: str
    kind: str


def paths_of(dialect: Dialect, kinds: Iterable[Resource]) -> dict[str, Object]:
    """Return every path of these kinds."""
    return dict(sorted(path for resource in kinds for path in _paths(dialect, resource)))


def _paths(dialect: Dialect, resource: Resource) -> Iterator[tuple[str, Object]]:
    collection = resource.path("{namespace}")
    item = resource.path("{namespace}", "{name}")
    own = _Answer(name_of(resource), resource.group, resource.version, resource.kind)
    if resource.namespaced and "list" in resource.verbs:
        yield resource.path(None), _path(dialect, resource, own, resource.path(None), ("list",))
    yield collection, _path(dialect, resource, own, collection, _COLLECTION)
    if "get" in resource.verbs:
        yield item, _path(dialect, resource, own, item, _ITEM)
    for name, answer, verbs in (
        ("status", own, ("get", "update", "patch") if resource.status else ()),
        ("scale", _Answer(SCALE, "autoscaling", "v1", "Scale"), ("get", "update", "patch") if resource.scale else ()),
        ("log", _Answer(None, resource.group, resource.version, resource.kind), ("get",) if resource.log else ()),
        ("eviction", _Answer(EVICTION, "policy", "v1", "Eviction"), ("create",) if resource.eviction else ()),
    ):
        if verbs:
            yield f"{item}/{name}", _path(dialect, resource, answer, f"{item}/{name}", verbs, is_below=True)


def _path(
    dialect: Dialect,
    resource: Resource,
    answer: _Answer,
    path: str,
    verbs: tuple[str, ...],
    *,
    is_below: bool = False,
) -> Object:
    entry: Object = {}
    for verb in verbs:
        if is_below or verb in resource.verbs:
            action = _ACTIONS[verb]
            entry[action.method] = _operation(dialect, resource, answer, action)
    in_path = [name for name in ("namespace", "name") if f"{{{name}}}" in path]
    entry["parameters"] = [_parameter(dialect, name, "string", "path") for name in in_path]
    return entry


def _operation(dialect: Dialect, resource: Resource, answer: _Answer, action: _Action) -> Object:
    schema = name_of(resource, of_list=True) if action.of_list else answer.schema
    if action.action in ("delete", "deletecollection"):
        schema = STATUS
    operation: Object = {
        "description": f"{action.action} {answer.kind}",
        "parameters": [_parameter(dialect, name, kind, "query") for name, kind in action.query.items()],
        "responses": {"200": {"description": "OK"} | _content(dialect, schema, (_JSON,))},
        "x-kubernetes-action": action.action,
        "x-kubernetes-group-version-kind": {"group": answer.group, "version": answer.version, "kind": answer.kind},
    }
    body, types = _body(resource, answer, action)
    if not types:
        return operation
    if dialect.is_v3:
        required = action.method != "delete"
        return operation | {"requestBody": _content(dialect, body, types) | ({"required": True} if required else {})}
    parameter = {"name": "body", "in": "body", "required": action.method != "delete"} | _content(dialect, body, types)
    return operation | {"consumes": list(types), "parameters": [*operation["parameters"], parameter]}


def _body(resource: Resource, answer: _Answer, action: _Action) -> tuple[str | None, tuple[str, ...]]:
    if action.method == "get":
        return None, ()
    if action.method == "patch":
        # Custom kinds know no strategic merge: kubectl reads from the list of types which patch to compute.
        return PATCH, _PATCH_TYPES if resource.crd is not None else (*_PATCH_TYPES, _STRATEGIC)
    return (DELETE_OPTIONS if action.method == "delete" else answer.schema), (_JSON,)


def _content(dialect: Dialect, schema: str | None, types: tuple[str, ...]) -> Object:
    shape: Any = dialect.ref(schema) if schema else {"type": "string"}
    return {"content": {kind: {"schema": shape} for kind in types}} if dialect.is_v3 else {"schema": shape}


def _parameter(dialect: Dialect, name: str, kind: str, place: str) -> Object:
    shape = {"type": kind, "uniqueItems": True}
    parameter: Object = {"name": name, "in": place} | ({"schema": shape} if dialect.is_v3 else shape)
    return parameter | ({"required": True} if place == "path" else {})
