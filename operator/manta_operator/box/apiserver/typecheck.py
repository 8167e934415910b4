"""Decodes an object of a built-in kind the way Go does: no nulls, no unknown fields, types must fit."""

from collections.abc import Mapping
from typing import Any

from manta_operator.box.apiserver import kinds
from manta_operator.box.apiserver.kinds import DEFINITION, Node

_PYTHON: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
    "object": (dict,),
    "array": (list,),
}
_SCHEMA = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps"
_SCHEMA_OR = (".JSONSchemaPropsOrBool", ".JSONSchemaPropsOrArray")
_GO = {str: "string", bool: "bool", int: "number", float: "number", dict: "object", list: "array"}


class Decoded:
    """What a decode found: fields that are unknown, and values of a wrong type."""

    def __init__(self) -> None:
        self.unknown: list[str] = []
        self.wrong: list[str] = []


def decode(node: Node, value: Any, found: Decoded, path: str = "") -> Any:
    """Return a copy without nulls and unknown fields; what was dropped or does not fit is noted in `found`."""
    if isinstance(value, Mapping) and str(node.get(DEFINITION, "")).endswith(_SCHEMA_OR):
        node = kinds.definition(_SCHEMA)
    types = _types(node)
    if types and not _fits(value, types):
        wanted = " or ".join(types)
        found.wrong.append(f"{path or '<object>'}: {_GO.get(type(value), 'null')} given, {wanted} wanted")
        return value
    if isinstance(value, Mapping):
        return _decode_map(node, value, found, path)
    if isinstance(value, list):
        inner = kinds.element(node)
        return [decode(inner, item, found, f"{path}[{index}]") for index, item in enumerate(value)]
    return value


def _decode_map(node: Node, value: Mapping[str, Any], found: Decoded, path: str) -> dict[str, Any]:
    properties = node.get("properties")
    free = properties is None or "additionalProperties" in node
    result: dict[str, Any] = {}
    for key, item in value.items():
        where = f"{path}.{key}" if path else str(key)
        if not free and properties is not None and key not in properties:
            found.unknown.append(where)
        elif item is not None:
            result[key] = decode(kinds.child(node, key), item, found, where)
    return result


def missing(node: Node, value: Any, path: str = "") -> list[str]:
    """Return the paths of required fields that are not there."""
    result: list[str] = []
    if isinstance(value, Mapping):
        required = node.get("required", ())
        result += [f"{path}.{key}".lstrip(".") for key in required if value.get(key) is None]
        for key, item in value.items():
            result += missing(kinds.child(node, key), item, f"{path}.{key}" if path else key)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            result += missing(kinds.element(node), item, f"{path}[{index}]")
    return result


def _types(node: Node) -> tuple[str, ...]:
    if "oneOf" in node:
        return tuple(name for option in node["oneOf"] for name in _types(option))
    if str(node.get(DEFINITION, "")).endswith((".JSON", *_SCHEMA_OR)):
        return ()
    declared = node.get("type", ())
    names = (declared,) if isinstance(declared, str) else tuple(declared)
    return tuple(name for name in names if name != "null")


def _fits(value: Any, types: tuple[str, ...]) -> bool:
    if isinstance(value, bool):
        return "boolean" in types
    return any(isinstance(value, _PYTHON[name]) for name in types)
