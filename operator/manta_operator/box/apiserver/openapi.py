"""OpenAPI v2 and v3 of all kinds served, so that kubectl validates, explains and applies."""

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

from manta_operator.box.apiserver import kinds
from manta_operator.box.apiserver.resources import Registry, Resource

_QUANTITY = ".resource.Quantity"
_V3, _V2 = "#/components/schemas/", "#/definitions/"


def _convert(node: Any, refs: str) -> Any:
    """Rewrite a JSON schema as OpenAPI: no lists of types, no nulls, its own sort of references."""
    if isinstance(node, list):
        return [_convert(item, refs) for item in node]
    if not isinstance(node, Mapping):
        return node
    found = {key: _convert(value, refs) for key, value in node.items() if key != "$ref" or not isinstance(value, str)}
    if isinstance(found.get("type"), list):
        found["type"] = next(name for name in found["type"] if name != "null")
    if isinstance(node.get("$ref"), str):
        where = refs + node["$ref"].removeprefix("#/$defs/")
        found = {"$ref": where} if refs == _V2 else {**found, "allOf": [{"$ref": where}]}
    return found


@cache
def _definition(name: str, refs: str) -> Any:
    if name.endswith(_QUANTITY):
        return {"type": "string"}
    if name.endswith(".IntOrString"):
        return {"type": "string", "format": "int-or-string"}
    return _convert(kinds.definitions()[name], refs)


def _needed(names: Iterable[str]) -> set[str]:
    """Return these definitions and all they refer to."""
    found: set[str] = set()
    todo = list(names)
    while todo:
        name = todo.pop()
        if name not in found:
            found.add(name)
            todo += _references(name)
    return found


@cache
def _references(name: str) -> tuple[str, ...]:
    found: list[str] = []

    def look(node: Any) -> None:
        if isinstance(node, Mapping):
            if isinstance(node.get("$ref"), str):
                found.append(node["$ref"].removeprefix("#/$defs/"))
            for value in node.values():
                look(value)
        elif isinstance(node, list):
            for value in node:
                look(value)

    look(kinds.definitions()[name])
    return tuple(found)


def _custom_name(resource: Resource) -> str:
    return ".".join([*reversed(resource.group.split(".")), resource.version, resource.kind])


_META = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"


def _custom(resource: Resource, refs: str) -> dict[str, Any]:
    schema = dict((resource.crd_version or {}).get("schema", {}).get("openAPIV3Schema", {}))
    meta: dict[str, Any] = {"$ref": refs + _META}
    own = {
        "apiVersion": {"type": "string", "description": "Group and version of the API."},
        "kind": {"type": "string", "description": "Kind of the object."},
        "metadata": meta if refs == _V2 else {"allOf": [meta], "description": "Standard object's metadata."},
    }
    schema["properties"] = {**schema.get("properties", {}), **own}
    gvk = {"group": resource.group, "version": resource.version, "kind": resource.kind}
    return {**schema, "x-kubernetes-group-version-kind": [gvk]}


def _schemas(resources: Iterable[Resource], refs: str) -> dict[str, Any]:
    names, found = {_META}, {}
    for resource in resources:
        if resource.crd_version is not None:
            found[_custom_name(resource)] = _custom(resource, refs)
        elif name := kinds.definition_name(resource.group, resource.version, resource.kind):
            names.add(name)
    return found | {name: _definition(name, refs) for name in sorted(_needed(names))}


def _paths(resources: Iterable[Resource]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    query = {"in": "query", "schema": {"type": "string"}, "uniqueItems": True}
    options = [{"name": name, **query} for name in ("dryRun", "fieldManager", "fieldValidation", "force")]
    for resource in resources:
        gvk = {"group": resource.group, "version": resource.version, "kind": resource.kind}
        space = "{namespace}" if resource.namespaced else None
        for path, verbs in (
            (resource.path(space), {"get": "list", "post": "post"}),
            (resource.path(space, "{name}"), {"get": "get", "put": "put", "patch": "patch", "delete": "delete"}),
        ):
            found[path] = {
                verb: {
                    "x-kubernetes-action": action,
                    "x-kubernetes-group-version-kind": gvk,
                    "parameters": options if verb in ("post", "put", "patch") else [],
                    "responses": {"200": {"description": "OK"}},
                }
                for verb, action in verbs.items()
            }
    return found


def v3_index(registry: Registry, revision: int) -> dict[str, Any]:
    """Answer /openapi/v3; `revision` makes clients that cache ask again."""
    roots = dict.fromkeys(resource.root.lstrip("/") for resource in registry)
    return {"paths": {root: {"serverRelativeURL": f"/openapi/v3/{root}?hash={revision}"} for root in roots}}


def v3(registry: Registry, root: str) -> dict[str, Any] | None:
    """Answer /openapi/v3/<root>; None if nothing is served there."""
    inside = [resource for resource in registry if resource.root == f"/{root}"]
    if not inside:
        return None
    info = {"title": "Kubernetes", "version": "v1.37.0"}
    return {"openapi": "3.0.0", "info": info, "paths": _paths(inside), "components": {"schemas": _schemas(inside, _V3)}}


def v2(registry: Registry) -> dict[str, Any]:
    """Answer /openapi/v2."""
    info = {"title": "Kubernetes", "version": "v1.37.0"}
    everything = list(registry)
    return {"swagger": "2.0", "info": info, "paths": _paths(everything), "definitions": _schemas(everything, _V2)}
