"""Defaulting: the values a schema gives to fields the user left out, nested as Kubernetes nests them."""

from collections.abc import Mapping
from typing import Any

from manta_operator.schema.json_copy import json_copy


def default(schema: Mapping[str, Any], value: Any) -> Any:
    """Return a deep copy of `value` with defaults filled in.

    An absent property gets its default, and the defaults inside that default too: `default: {}` on an object
    lets its properties' defaults appear. A null where null is not allowed counts as absent.
    """
    return _default(schema, json_copy(value))


def _default(schema: Mapping[str, Any], value: Any) -> Any:
    if isinstance(value, list) and isinstance(items := schema.get("items"), Mapping):
        return [_default(items, _instead_of_null(items, item)) for item in value]
    if not isinstance(value, dict):
        return value
    properties: Mapping[str, Any] = schema.get("properties", {})
    for key, child in properties.items():
        if key in value and value[key] is None and not child.get("nullable"):
            del value[key]
        if key not in value and "default" in child:
            value[key] = json_copy(child["default"])
        if key in value:
            value[key] = _default(child, value[key])
    additional = schema.get("additionalProperties")
    if isinstance(additional, Mapping):
        for key in value.keys() - properties.keys():
            value[key] = _default(additional, _instead_of_null(additional, value[key]))
    return value


def _instead_of_null(schema: Mapping[str, Any], value: Any) -> Any:
    """Return the default for a null list item or map value: these have a place of their own and are not dropped."""
    if value is None and not schema.get("nullable") and "default" in schema:
        return json_copy(schema["default"])
    return value
