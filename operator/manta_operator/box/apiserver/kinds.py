"""Schemas of all kinds as one tree that patches, server-side apply, defaulting and validation walk.

Built-in kinds come from the real Kubernetes schemas that kubernetes-validate ships, custom kinds from their CRDs.
"""

import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from manta_operator.box.apiserver.resources import Resource

Node = Mapping[str, Any]
ANYTHING: Node = {}
DEFINITION = "x-manta-definition"
_META = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
_SCHEMA_VERSION = "v1.37.0-local"
_REF = "#/$defs/"


@cache
def definitions() -> dict[str, Any]:
    """Return the definitions of all built-in kinds and their parts, by their full names."""
    folder = files("kubernetes_validate") / "kubernetes-json-schema" / _SCHEMA_VERSION
    found: dict[str, Any] = json.loads((folder / "_definitions.json").read_text())["$defs"]
    return found


@cache
def _by_kind() -> dict[tuple[str, str, str], str]:
    return {
        (gvk["group"], gvk["version"], gvk["kind"]): name
        for name, schema in definitions().items()
        for gvk in schema.get("x-kubernetes-group-version-kind", ())
    }


def definition_name(group: str, version: str, kind: str) -> str | None:
    """Return the full name of a built-in kind's definition."""
    return _by_kind().get((group, version, kind))


_resolved: dict[int, tuple[Node, Node]] = {}


def resolve(node: Node) -> Node:
    """Follow `$ref`; what stands beside the reference wins over what it refers to."""
    if not isinstance(node.get("$ref"), str):
        return node
    kept = _resolved.get(id(node))
    if kept is None:
        name = node["$ref"].removeprefix(_REF)
        beside = {key: value for key, value in node.items() if key != "$ref"}
        kept = (node, {**definitions()[name], DEFINITION: name, **beside})
        _resolved[id(node)] = kept  # the node is kept with it, so that its id stays its own
    return kept[1]


@cache
def _reference(name: str) -> Node:
    return {"$ref": _REF + name}


def definition(name: str) -> Node:
    """Return the definition of a full name."""
    return resolve(_reference(name))


def root(resource: Resource) -> Node:
    """Return the schema of a kind; ANYTHING if it has none."""
    if resource.crd_version is not None:
        return _custom_root(resource.crd_version)
    name = definition_name(resource.group, resource.version, resource.kind)
    return resolve(_reference(name)) if name else ANYTHING


_custom: dict[int, tuple[Mapping[str, Any], Node]] = {}


def _custom_root(version: Mapping[str, Any]) -> Node:
    kept = _custom.get(id(version))
    if kept is None:
        schema = version.get("schema", {}).get("openAPIV3Schema", {})
        properties = {**schema.get("properties", {}), "metadata": _reference(_META)}
        kept = (version, {**schema, "properties": properties})
        _custom[id(version)] = kept
    return kept[1]


def child(node: Node, key: str) -> Node:
    """Return the schema of a member of an object."""
    found = node.get("properties", {}).get(key)
    if found is None:
        more = node.get("additionalProperties")
        found = more if isinstance(more, Mapping) else ANYTHING
    return resolve(found)


def element(node: Node) -> Node:
    """Return the schema of a list's elements."""
    found = node.get("items")
    return resolve(found) if isinstance(found, Mapping) else ANYTHING


def is_atomic_map(node: Node) -> bool:
    """Whether an object is owned and replaced as a whole."""
    return node.get("x-kubernetes-map-type") == "atomic"


def list_keys(node: Node) -> tuple[str, ...]:
    """Return the keys that tell a list's elements apart; empty if it is no list of that sort."""
    return tuple(node.get("x-kubernetes-list-map-keys", ())) if node.get("x-kubernetes-list-type") == "map" else ()


def is_set(node: Node) -> bool:
    """Whether a list is a set of scalars."""
    return node.get("x-kubernetes-list-type") == "set"
