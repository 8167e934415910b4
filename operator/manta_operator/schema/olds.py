"""Which part of the stored object a part of the new one corresponds to: for ratcheting and transition rules."""

from collections.abc import Mapping
from typing import Any, Final


class _Missing:
    """The type of MISSING: a stored value that is not there, which is not the same as null."""

    def __repr__(self) -> str:
        return "MISSING"


MISSING: Final = _Missing()


def old_child(old: Any, name: str) -> Any:
    """Return the stored value of property or map key `name`, or MISSING."""
    return old.get(name, MISSING) if isinstance(old, Mapping) else MISSING


def old_item(schema: Mapping[str, Any], old: Any, item: Any) -> Any:
    """Return the stored item that `item` corresponds to, or MISSING.

    Only items of lists with `x-kubernetes-list-type: map` correspond, by their keys: elsewhere a position says
    nothing about identity.
    """
    if schema.get("x-kubernetes-list-type") != "map" or not isinstance(old, list) or not isinstance(item, Mapping):
        return MISSING
    keys = schema["x-kubernetes-list-map-keys"]
    identity = [item.get(key) for key in keys]
    same = (other for other in old if isinstance(other, Mapping) and [other.get(key) for key in keys] == identity)
    return next(same, MISSING)
