"""Sets of fields, as managedFields keeps them (fieldsV1): which paths an object has. Pure.

A path is a tuple of fieldsV1 keys: `f:spec`, `k:{"name":"a"}` for an element of a list map, `v:"x"` for one of a set.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from manta_operator.box.apiserver import kinds
from manta_operator.box.apiserver.defaults import missing_key
from manta_operator.box.apiserver.kinds import Node

FieldPath = tuple[str, ...]
FieldSet = frozenset[FieldPath]

_NOBODYS = {("f:apiVersion",), ("f:kind",)} | {
    ("f:metadata", f"f:{name}")
    for name in (
        "name",
        "namespace",
        "uid",
        "resourceVersion",
        "generation",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "managedFields",
        "selfLink",
        "generateName",
    )
}


_TEMPLATE = ("f:spec", "f:template")
_ALWAYS: tuple[FieldPath, ...] = (
    ("f:metadata",),
    ("f:spec",),
    ("f:status",),
    ("f:status", "f:loadBalancer"),
    ("f:spec", "f:containers"),
    ("f:spec", "f:strategy"),
    ("f:spec", "f:updateStrategy"),
    ("f:spec", "f:names"),
    ("f:source",),
    _TEMPLATE,
    (*_TEMPLATE, "f:metadata"),
    (*_TEMPLATE, "f:spec"),
    (*_TEMPLATE, "f:spec", "f:containers"),
)


def element_key(node: Node, item: Any) -> str:
    """Return the key of an element of a list map or set."""
    keys = kinds.list_keys(node)
    if not keys or not isinstance(item, Mapping):
        return "v:" + json.dumps(item, separators=(",", ":"), sort_keys=True)
    inner = kinds.element(node)
    values = {key: item.get(key, missing_key(inner, key)) for key in keys}
    known = {key: value for key, value in values.items() if value is not None}
    return "k:" + json.dumps(known, separators=(",", ":"), sort_keys=True)


def leaves(node: Node, value: Any) -> dict[FieldPath, Any]:
    """Return every field an object sets, with its value; elements of list maps also as fields of their own."""
    found: dict[FieldPath, Any] = {}
    _collect(node, value, (), found)
    return {path: item for path, item in found.items() if path[:2] not in _NOBODYS and path not in _NOBODYS}


def _collect(node: Node, value: Any, path: FieldPath, found: dict[FieldPath, Any]) -> None:
    if isinstance(value, Mapping) and value and not (path and kinds.is_atomic_map(node)):
        for key, item in value.items():
            _collect(kinds.child(node, key), item, (*path, f"f:{key}"), found)
    elif isinstance(value, list) and value and kinds.list_keys(node):
        for item in value:
            place = (*path, element_key(node, item))
            found[place] = None
            _collect(kinds.element(node), item, place, found)
    elif isinstance(value, list) and value and kinds.is_set(node):
        for item in value:
            found[(*path, element_key(node, item))] = None
    else:
        found[path] = value


def holders(node: Node, paths: Mapping[FieldPath, Any]) -> set[FieldPath]:
    """Return every object and list around these `leaves`; a plain write owns those it brings ("." in fieldsV1).

    Not those that are always there: metadata, and of built-in kinds the structs that Go writes even when empty.
    """
    always = _ALWAYS if kinds.DEFINITION in node else _ALWAYS[:1]
    found = {path[:length] for path in paths for length in range(1, len(path))}
    return found.difference(always, paths)


def to_fields_v1(paths: Iterable[FieldPath]) -> dict[str, Any]:
    """Write a set the way managedFields shows it."""
    tree: dict[str, Any] = {}
    for path in sorted(paths):
        place = tree
        for key in path:
            place = place.setdefault(key, {})
        place["."] = {}
    return _without_lone_dots(tree)


def _without_lone_dots(tree: dict[str, Any]) -> dict[str, Any]:
    return {key: {} if list(inner) == ["."] else _without_lone_dots(inner) for key, inner in tree.items()}


def from_fields_v1(tree: Mapping[str, Any]) -> FieldSet:
    """Read a set from managedFields."""
    found: set[FieldPath] = set()

    def read(inner: Mapping[str, Any], path: FieldPath) -> None:
        if not inner and path:
            found.add(path)
        for key, more in inner.items():
            if key == ".":
                found.add(path)
            else:
                read(more or {}, (*path, key))

    read(tree, ())
    return frozenset(found)


def render(path: FieldPath) -> str:
    """Write a path for people: `.spec.containers[name="a"].image`."""
    text = ""
    for part in path:
        sort, _, rest = part.partition(":")
        if sort == "f":
            text += f".{rest}"
        elif sort == "k":
            pairs = json.loads(rest).items()
            text += "[" + ",".join(f"{key}={json.dumps(value)}" for key, value in pairs) + "]"
        else:
            text += f"[={rest}]"
    return text
