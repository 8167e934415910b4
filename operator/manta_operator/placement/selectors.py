"""Requirements {key, operator, values} of label and node selectors. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any


def matches_expression(expression: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Whether labels meet one requirement; an operator that nobody knows is never met."""
    name, values = expression["key"], list(expression.get("values") or [])
    value = labels.get(name)
    match expression["operator"]:
        case "In":
            return value in values
        case "NotIn":
            return value not in values
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
        case "Gt" | "Lt" as operator:
            return _compares(operator, value, values)
        case _:
            return False


def _compares(operator: str, value: str | None, values: Sequence[str]) -> bool:
    try:
        left, right = int(value or ""), int(values[0])
    except (ValueError, IndexError):
        return False
    return left > right if operator == "Gt" else left < right
