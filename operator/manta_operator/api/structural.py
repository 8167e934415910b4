"""From the JSON schema of a pydantic model to the structural schema that a CustomResourceDefinition needs.

Used by `crd.py`. References are written out, "or null" becomes "not required", titles go, docstrings become one line.
"""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

_DROPPED = ("$defs", "$ref", "anyOf", "default", "required", "title")
_FIRST = ("description", "type", "default", "enum", "required", "properties")


def structural_schema(model: type[BaseModel], *, defaults: bool) -> dict[str, Any]:
    """Return the structural schema of `model`.

    Args:
        model: The model; its fields are described by their docstrings.
        defaults: Keep the defaults. A status has none: what the operator did not say must not appear.
    """
    schema = model.model_json_schema(by_alias=True)
    return _Converter(schema.get("$defs", {}), defaults).convert(schema)


class _Converter:
    def __init__(self, definitions: Mapping[str, Any], defaults: bool) -> None:
        self._definitions = definitions
        self._defaults = defaults

    def convert(self, schema: Mapping[str, Any]) -> dict[str, Any]:
        schema = self._resolve(schema)
        node = {key: value for key, value in schema.items() if key not in _DROPPED}
        if "description" in node:
            node["description"] = " ".join(node["description"].split())
        if schema.get("required"):
            node["required"] = list(schema["required"])
        if "const" in node:
            node |= {"enum": [node.pop("const")]}
        if "properties" in schema:
            node["properties"] = {
                name: self._property(child, name in schema.get("required", ()))
                for name, child in schema["properties"].items()
            }
        if "items" in schema:
            node["items"] = self.convert(schema["items"])
        self._additional(node)
        return node

    def _property(self, schema: Mapping[str, Any], required: bool) -> dict[str, Any]:
        node = self.convert(schema)
        default = schema.get("default")
        if "default" not in schema and node.get("type") == "object" and not required:
            default = {}  # pydantic does not show default factories; every one of ours makes an empty object
        if default is not None and self._defaults:
            node["default"] = default
        return {key: node[key] for key in _FIRST if key in node} | node

    def _resolve(self, schema: Mapping[str, Any]) -> dict[str, Any]:
        """Return `schema` with its reference written out and without "or null"."""
        merged = dict(schema)
        if "$ref" in schema:
            target = self._definitions[schema["$ref"].rsplit("/", 1)[1]]
            merged = {**target, **schema}
        choices = [choice for choice in merged.get("anyOf", ()) if choice != {"type": "null"}]
        if len(choices) > 1:
            raise ValueError(f"a structural schema has one type, not {len(choices)}: {choices}")
        return {**self._resolve(choices[0]), **merged} if choices else merged

    def _additional(self, node: dict[str, Any]) -> None:
        additional = node.get("additionalProperties")
        if isinstance(additional, Mapping):
            node["additionalProperties"] = self.convert(additional)
        elif additional is False or node.get("x-kubernetes-preserve-unknown-fields"):
            node.pop("additionalProperties", None)
