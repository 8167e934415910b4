"""Server-side apply: merges what a manager declares into an object, drops what it no longer declares. Pure.

Called by operations.py; field_sets.py says what a field is, managed_fields.py who owns it.
"""

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from manta_operator.box.apiserver import kinds, managed_fields
from manta_operator.box.apiserver.field_sets import FieldPath, FieldSet, element_key, leaves, render
from manta_operator.box.apiserver.kinds import Node
from manta_operator.box.apiserver.managed_fields import Manager, Owners
from manta_operator.box.cluster import ApiError

Object = dict[str, Any]


def apply(node: Node, live: Object, applied: Object, manager: Manager, *, force: bool) -> tuple[Object, Owners]:
    """Return the merged object and who owns what afterwards.

    Raises:
        ApiError: 409 if a field would change that another manager owns, and `force` is false.
    """
    owners = managed_fields.read(live)
    declared = leaves(node, applied)
    old = leaves(node, live)
    changed = frozenset(path for path, value in declared.items() if path not in old or old[path] != value)
    disputed = managed_fields.conflicts(owners, manager, changed)
    if disputed and not force:
        raise _conflict(disputed)
    for other, fields in disputed.items():
        owners[other] = owners[other] - fields
    before = owners.pop(manager, frozenset())
    merged = merge(node, live, applied)
    others: set[FieldPath] = set().union(*owners.values()) if owners else set()
    dropped = before - frozenset(declared)
    _drop(node, merged, dropped, frozenset(others), frozenset(declared))
    return merged, {**owners, manager: frozenset(declared)}


def _conflict(disputed: Mapping[Manager, FieldSet]) -> ApiError:
    lines, causes = [], []
    for other, fields in disputed.items():
        sub = f' with subresource "{other.subresource}"' if other.subresource else ""
        who = f'"{other.name}"{sub} using {other.api_version}'
        for path in sorted(fields):
            where = render(path)
            lines.append(f"conflict with {who}: {where}")
            causes.append({"reason": "FieldManagerConflict", "message": f"conflict with {who}", "field": where})
    word = "conflict" if len(lines) == 1 else "conflicts"
    message = f"Apply failed with {len(lines)} {word}: " + ", ".join(lines)
    message += ". Apply with force=true (kubectl: --force-conflicts) to take these fields over, or leave them out."
    return ApiError(409, "Conflict", message, {"causes": causes})


def merge(node: Node, live: Any, applied: Any) -> Any:
    """Return `live` with `applied` laid over it: maps by key, list maps and sets by element, all else replaced."""
    if isinstance(live, Mapping) and isinstance(applied, Mapping) and not kinds.is_atomic_map(node):
        merged = dict(live)
        for key, value in applied.items():
            merged[key] = merge(kinds.child(node, key), live.get(key), value)
        return merged
    if isinstance(live, list) and isinstance(applied, list) and (kinds.list_keys(node) or kinds.is_set(node)):
        places = {element_key(node, item): item for item in live}
        for item in applied:
            key = element_key(node, item)
            places[key] = merge(kinds.element(node), places.get(key), item)
        return list(places.values())
    return deepcopy(applied)


def _drop(node: Node, obj: Object, dropped: FieldSet, others: FieldSet, declared: FieldSet) -> None:
    kept = others | declared
    for path in sorted(dropped, key=len):
        if not any(path == other[: len(path)] for other in kept):
            _remove(node, obj, path)


def _remove(node: Node, value: Any, path: FieldPath) -> bool:
    """Remove what lies at a path; True if `value` is empty afterwards and may go too."""
    head, rest = path[0], path[1:]
    if head.startswith("f:") and isinstance(value, dict):
        key = head[2:]
        if key in value and (not rest or _remove(kinds.child(node, key), value[key], rest)):
            del value[key]
        return not value
    if isinstance(value, list):
        index = next((i for i, item in enumerate(value) if element_key(node, item) == head), None)
        if index is None:
            return not value
        if not rest:
            del value[index]
        elif rest[0] not in {f"f:{key}" for key in kinds.list_keys(node)}:
            _remove(kinds.element(node), value[index], rest)
        return not value
    return False
