"""How Kubernetes shows a JSON value to CEL: property names escaped, numbers and times in the schema's types."""

import re
from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any

_NAME = re.compile(r"[A-Za-z_./-][A-Za-z0-9_./-]*\Z")
_RESERVED = frozenset(
    [
        "true",
        "false",
        "null",
        "in",
        "as",
        "break",
        "const",
        "continue",
        "else",
        "for",
        "function",
        "if",
        "import",
        "let",
        "loop",
        "package",
        "namespace",
        "return",
        "var",
        "void",
        "while",
    ]
)
_ESCAPES = {"__": "__underscores__", ".": "__dot__", "-": "__dash__", "/": "__slash__"}
_ESCAPED = re.compile(r"__|[./-]")


@lru_cache(maxsize=4096)
def escape(name: str) -> str | None:
    """Return the identifier by which CEL knows property `name`, or None if it has none and is hidden."""
    if name in _RESERVED:
        return f"__{name}__"
    if not _NAME.match(name):
        return None
    return _ESCAPED.sub(lambda match: _ESCAPES[match.group(0)], name)


def to_cel(schema: Mapping[str, Any], value: Any, *, root: bool = False) -> Any:
    """Return `value` as a rule sees it.

    Args:
        schema: The structural schema of `value`.
        value: The JSON value, already known to have the schema's type.
        root: `value` is a whole object: of its metadata only name and generateName are shown.
    """
    if isinstance(value, Mapping):
        shown = _properties(schema, value)
        if root and isinstance(metadata := value.get("metadata"), Mapping):
            shown["metadata"] = {key: metadata[key] for key in ("name", "generateName") if key in metadata}
        if root:
            shown |= {key: value[key] for key in ("apiVersion", "kind") if key in value}
        return shown
    if isinstance(value, list):
        items = schema.get("items", {})
        return [to_cel(items, item) for item in value]
    if schema.get("type") == "number" and isinstance(value, int):
        return float(value)
    if schema.get("type") == "integer" and isinstance(value, float):
        return int(value)
    if schema.get("format") in ("date-time", "date") and isinstance(value, str):
        return _time(value)
    return value


def _time(text: str) -> datetime | str:
    """Return the time, or the text itself if it is none: the walk over the values has said so already."""
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return text


def _properties(schema: Mapping[str, Any], value: Mapping[str, Any]) -> dict[str, Any]:
    properties: Mapping[str, Any] = schema.get("properties", {})
    additional = schema.get("additionalProperties")
    shown: dict[str, Any] = {}
    for key, item in value.items():
        if key in properties:
            name = escape(key)
            if name is not None:
                shown[name] = to_cel(properties[key], item)
        elif isinstance(additional, Mapping):
            shown[key] = to_cel(additional, item)
        elif additional is True:
            shown[key] = item
    return shown
