"""`spec.podTemplate` merged over the template Manta builds, as `kubectl patch --type strategic` would. Pure.

Mappings merge key by key, null removes a key, lists of named things merge by their key, other lists are replaced.
"""

from collections.abc import Mapping, Sequence
from typing import Any

_MERGE_KEYS = {
    "containers": "name",
    "env": "name",
    "imagePullSecrets": "name",
    "initContainers": "name",
    "ports": "containerPort",
    "volumeMounts": "mountPath",
    "volumes": "name",
}

_REPLACED = ("env", "volumes")
"""An entry of the same name is replaced whole: `value` beside `valueFrom`, or two sources of a volume, are refused."""
_APPENDED = ("tolerations",)


def overlay(base: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """Return `base` with `patch` merged over it; neither is changed."""
    result = dict(base)
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, Mapping):
            below = result.get(key)
            result[key] = overlay(below if isinstance(below, Mapping) else {}, value)
        elif key in _MERGE_KEYS and isinstance(value, list):
            result[key] = _merge_named(result.get(key) or [], value, key)
        elif key in _APPENDED and isinstance(value, list):
            result[key] = [*(result.get(key) or ()), *value]
        else:
            result[key] = value
    return result


def _merge_named(base: Sequence[Any], patch: Sequence[Any], field: str) -> list[Any]:
    merged, key = list(base), _MERGE_KEYS[field]
    positions = {entry[key]: index for index, entry in enumerate(merged) if isinstance(entry, Mapping) and key in entry}
    for entry in patch:
        position = positions.get(entry.get(key)) if isinstance(entry, Mapping) else None
        if position is None:
            merged.append(entry)
        else:
            merged[position] = entry if field in _REPLACED else overlay(merged[position], entry)
    return merged
