"""Pruning: what a CRD's schema does not know is dropped before an object is stored."""

from collections.abc import Mapping
from typing import Any

from manta_operator.schema.errors import Path, render_path

TYPE_META = ("apiVersion", "kind", "metadata")


def prune(schema: Mapping[str, Any], value: Any, *, root: bool = True) -> tuple[Any, tuple[str, ...]]:
    """Return a pruned deep copy of `value` and the paths of the fields that were dropped, in document order.

    Args:
        schema: An openAPIV3Schema, or a part of one.
        value: A JSON value.
        root: `value` is a whole object: its apiVersion, kind and metadata are kept as they are.
    """
    unknown: list[Path] = []
    pruned = _prune(schema, value, (), root or _is_embedded(schema), unknown)
    return pruned, tuple(render_path(path) for path in unknown)


def _is_embedded(schema: Mapping[str, Any]) -> bool:
    return bool(schema.get("x-kubernetes-embedded-resource"))


def _prune(schema: Mapping[str, Any], value: Any, path: Path, is_object: bool, unknown: list[Path]) -> Any:
    if isinstance(value, list):
        items = schema.get("items")
        if items is None:
            return [_copy(item) for item in value]
        return [_prune(items, item, (*path, i), _is_embedded(items), unknown) for i, item in enumerate(value)]
    if not isinstance(value, Mapping):
        return value
    kept: dict[str, Any] = {}
    for key, item in value.items():
        child = _child_schema(schema, key)
        if is_object and key in TYPE_META:
            kept[key] = _copy(item)
        elif child is not None:
            kept[key] = _prune(child, item, (*path, key), _is_embedded(child), unknown)
        elif schema.get("x-kubernetes-preserve-unknown-fields"):
            kept[key] = _copy(item)
        else:
            unknown.append((*path, key))
    return kept


def _child_schema(schema: Mapping[str, Any], key: str) -> Mapping[str, Any] | None:
    """Return the schema of a property or map value, or None where the schema does not know the key."""
    properties: Mapping[str, Any] = schema.get("properties", {})
    if key in properties:
        found: Mapping[str, Any] = properties[key]
        return found
    additional = schema.get("additionalProperties")
    if isinstance(additional, Mapping):
        return additional
    return {"x-kubernetes-preserve-unknown-fields": True} if additional is True else None


def _copy(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _copy(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_copy(item) for item in value]
    return value
