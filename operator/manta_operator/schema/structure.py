"""Is a schema structural? The checks an API server makes before it accepts a CustomResourceDefinition."""

from collections.abc import Iterator, Mapping
from typing import Any

from manta_operator.schema.errors import SchemaError

TYPES = frozenset({"array", "boolean", "integer", "number", "object", "string"})
_FORBIDDEN = ("$ref", "definitions", "dependencies", "id", "patternProperties", "readOnly", "writeOnly", "xml")
_JUNCTORS = ("allOf", "anyOf", "oneOf")
_NOT_IN_JUNCTORS = ("default", "description", "additionalProperties", "nullable", "title", "type")
_LIST_TYPES = ("atomic", "map", "set")


def check_structural(schema: Mapping[str, Any]) -> None:
    """Check a whole openAPIV3Schema.

    Raises:
        SchemaError: It is not structural; the message lists every place.
    """
    problems = list(_node("openAPIV3Schema", schema))
    if schema.get("type") != "object":
        problems.append("openAPIV3Schema.type: must be object")
    problems += [
        f"openAPIV3Schema.properties[metadata].properties[{name}]: only name and generateName may be restricted"
        for name in schema.get("properties", {}).get("metadata", {}).get("properties", {})
        if name not in ("name", "generateName")
    ]
    if problems:
        raise SchemaError("the schema is not structural: " + "; ".join(problems))


def _node(path: str, schema: Mapping[str, Any]) -> Iterator[str]:
    yield from (f"{path}.{word}: must not be set" for word in _FORBIDDEN if word in schema)
    yield from _type(path, schema)
    if schema.get("uniqueItems"):
        yield f"{path}.uniqueItems: must not be true; use x-kubernetes-list-type: set"
    if schema.get("properties") and "additionalProperties" in schema:
        yield f"{path}.additionalProperties: must not be set beside properties"
    if schema.get("additionalProperties") is False:
        yield f"{path}.additionalProperties: must not be false: unknown fields are pruned anyway"
    if schema.get("type") == "array":
        yield from _list(path, schema)
    for word in _JUNCTORS:
        for i, part in enumerate(schema.get(word, ())):
            yield from _junctor(f"{path}.{word}[{i}]", part, bool(schema.get("x-kubernetes-int-or-string")))
    for name, child in schema.get("properties", {}).items():
        yield from _node(f"{path}.properties[{name}]", child)
    if isinstance(additional := schema.get("additionalProperties"), Mapping):
        yield from _node(f"{path}.additionalProperties", additional)


def _type(path: str, schema: Mapping[str, Any]) -> Iterator[str]:
    kind = schema.get("type")
    if schema.get("x-kubernetes-int-or-string"):
        if kind is not None:
            yield f"{path}.type: must be empty beside x-kubernetes-int-or-string"
    elif kind is None:
        if not schema.get("x-kubernetes-preserve-unknown-fields"):
            yield f"{path}.type: required"
    elif kind not in TYPES:
        yield f"{path}.type: {kind!r} is none of {', '.join(sorted(TYPES))}"


def _list(path: str, schema: Mapping[str, Any]) -> Iterator[str]:
    items = schema.get("items")
    if not isinstance(items, Mapping):
        yield f"{path}.items: required, one schema"
        return
    yield from _node(f"{path}.items", items)
    list_type = schema.get("x-kubernetes-list-type", "atomic")
    keys = schema.get("x-kubernetes-list-map-keys", [])
    if list_type not in _LIST_TYPES:
        yield f"{path}.x-kubernetes-list-type: {list_type!r} is none of {', '.join(_LIST_TYPES)}"
    if (list_type == "map") != bool(keys):
        yield f"{path}.x-kubernetes-list-map-keys: needed by list type map, and only there"
    for key in keys:
        child = items.get("properties", {}).get(key)
        if child is None:
            yield f"{path}.items.properties[{key}]: missing, but named as a key of the list"
        elif key not in items.get("required", []) and "default" not in child:
            yield f"{path}.items.properties[{key}]: a key must be required or have a default"


def _junctor(path: str, schema: Mapping[str, Any], int_or_string: bool) -> Iterator[str]:
    for word in _NOT_IN_JUNCTORS:
        if word in schema and not (word == "type" and int_or_string):
            yield f"{path}.{word}: must not be set inside {' or '.join(_JUNCTORS)}"
