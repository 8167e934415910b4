"""Server-side apply: merges what a manager declares into an object, drops what it no longer declares. Pure.

Called by operations.py; field_sets.py says what a field is, managed_fields.py who owns it.
"""

from collections.abc import Mapping
from typing import Any

from manta_operator.box.apiserver import kinds, managed_fields
from manta_operator.box.apiserver.field_sets import FieldPath, FieldSet, element_key, holders, leaves, render
from manta_operator.box.apiserver.kinds import Node
from manta_operator.box.apiserver.managed_fields import Manager, Owners
from manta_operator.box.cluster import ApiError
from manta_operator.schema.json_copy import json_copy

Object = dict[str, Any]
_METADATA = ("f:metadata",)


def apply(node: Node, live: Object, applied: Object, manager: Manager, *, force: bool) -> tuple[Object, Owners]:
    """Return the merged object and who owns what afterwards.

    Raises:
        ApiError: 409 if a field would change that another manager owns, and `force` is false.
    """
    owners = managed_fields.read(live)
    declared = leaves(node, applied)
    old = leaves(node, live)
    held = holders(node, old)  # an empty object laid over a full one changes nothing
    changed = frozenset(
        path for path, value in declared.items() if path not in held and (path not in old or old[path] != value)
    )
    disputed = managed_fields.conflicts(owners, manager, changed)
    if disputed and not force:
        raise _conflict(disputed, managed_fields.times(live))
    for other, fields in disputed.items():
        owners[other] = owners[other] - fields
    before = owners.pop(manager, frozenset())
    merged = merge(node, live, applied)
    others: set[FieldPath] = set().union(*owners.values()) if owners else set()
    dropped = before - frozenset(declared)
    _drop(node, merged, dropped, frozenset(others), frozenset(declared))
    return merged, {**owners, manager: frozenset(declared)}


def _conflict(disputed: Mapping[Manager, FieldSet], times: Mapping[Manager, str]) -> ApiError:
    """Word it as a Kubernetes API server does: grouped by manager; kubectl adds what one can do about it."""
    lines, causes = [], []
    for other, fields in sorted(disputed.items(), key=lambda pair: pair[0].name):
        who = f'"{other.name}"' + (f' with subresource "{other.subresource}"' if other.subresource else "")
        if other.operation == "Update":
            who += f" using {other.api_version}" + (f" at {times[other]}" if other in times else "")
        paths = [render(path) for path in sorted(fields)]
        lines += [f"conflicts with {who}:", *(f"- {path}" for path in paths)]
        about = {"reason": "FieldManagerConflict", "message": f"conflict with {who}"}
        causes += [{**about, "field": path} for path in paths]
    if len(causes) == 1:
        message = f"Apply failed with 1 conflict: {causes[0]['message']}: {causes[0]['field']}"
    else:
        message = f"Apply failed with {len(causes)} conflicts: " + "\n".join(lines)
    return ApiError(409, "Conflict", message, {"causes": causes})


def merge(node: Node, live: Any, applied: Any) -> Any:
    """Return `live` with `applied` laid over it: maps by key, list maps and sets by element, all else replaced."""
    if isinstance(live, Mapping) and isinstance(applied, Mapping) and not kinds.is_atomic_map(node):
        merged = dict(live)
        for key, value in applied.items():
            merged[key] = merge(kinds.child(node, key), live.get(key), value)
        return merged
    if isinstance(live, list) and isinstance(applied, list) and (kinds.list_keys(node) or kinds.is_set(node)):
        return _merge_list(node, live, applied)
    return json_copy(applied)


def _merge_list(node: Node, live: list[Any], applied: list[Any]) -> list[Any]:
    """Merge element by element. What both have stands in the applied order, what only `live` has where it stood."""
    stored = {element_key(node, item): item for item in live}
    laid = {element_key(node, item): item for item in applied}
    merged = {key: merge(kinds.element(node), stored.get(key), item) for key, item in laid.items()}
    order: list[str] = []
    coming = iter(laid)
    for key in stored:
        if key not in laid:
            order.append(key)
            continue
        for each in coming:  # up to the next one that both have: it takes this place
            order.append(each)
            if each in stored:
                break
    return [merged[key] if key in merged else stored[key] for key in (*order, *coming)]


def _drop(node: Node, obj: Object, dropped: FieldSet, others: FieldSet, declared: FieldSet) -> None:
    """Remove what nobody wants any more, with every object around it that nobody has a field in."""
    kept = {other[:length] for other in (*others, *declared) for length in range(1, len(other) + 1)}
    gone = {path[:length] for path in dropped for length in range(1, len(path) + 1)}
    for path in sorted(gone - kept, key=len):
        # An element of a list goes when the element itself was dropped, not when a field in it was.
        if path != _METADATA and (path in dropped or path[-1].startswith("f:")):
            _remove(node, obj, path)


def _remove(node: Node, value: Any, path: FieldPath) -> None:
    """Remove what lies at a path, if it is still there."""
    head, rest = path[0], path[1:]
    if head.startswith("f:") and isinstance(value, dict):
        key = head[2:]
        if rest and key in value:
            _remove(kinds.child(node, key), value[key], rest)
        elif not rest:
            value.pop(key, None)
    elif isinstance(value, list):
        index = next((i for i, item in enumerate(value) if element_key(node, item) == head), None)
        if index is None:
            return
        if not rest:
            del value[index]
        elif rest[0] not in {f"f:{key}" for key in kinds.list_keys(node)}:
            _remove(kinds.element(node), value[index], rest)
