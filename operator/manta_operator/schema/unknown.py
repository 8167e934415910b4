"""What would have been known where an unknown field stands: for suggestions in messages."""

import re
from collections.abc import Mapping
from typing import Any

_STEP = re.compile(r"[^.\[\]]+|\[[^\]]*\]")


def known_siblings(schema: Mapping[str, Any], path: str) -> tuple[str, tuple[str, ...]]:
    """Return the last name of `path` and the names that the schema knows beside it, sorted.

    Args:
        schema: The openAPIV3Schema.
        path: A path as `prune` reports it, for example `spec.engine.env[0].nam`.
    """
    *parents, last = _STEP.findall(path)
    node: Any = schema
    for step in parents:
        properties = node.get("properties", {})
        name = step.strip("[]")
        node = properties[name] if name in properties else node.get("items") or node.get("additionalProperties") or {}
    return last.strip("[]"), tuple(sorted(node.get("properties", {})))
