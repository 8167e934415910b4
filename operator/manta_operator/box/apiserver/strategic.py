"""Strategic merge patch of built-in kinds: lists merge by the keys their schemas name. Pure."""

from collections.abc import Mapping
from typing import Any

from manta_operator.box.apiserver import kinds
from manta_operator.box.apiserver.errors import bad_request
from manta_operator.box.apiserver.kinds import Node
from manta_operator.schema.json_copy import json_copy

_ORDER, _DELETE_FROM = "$setElementOrder/", "$deleteFromPrimitiveList/"


def strategic_merge(node: Node, value: Any, patch: Any) -> Any:  # noqa: C901 - one branch a directive
    """Return `value` with the patch applied; ApiError 400 for a directive that makes no sense."""
    if not isinstance(patch, Mapping):
        return json_copy(patch)
    directive = patch.get("$patch")
    if directive == "replace":
        return {key: json_copy(item) for key, item in patch.items() if key != "$patch"}
    if directive == "delete":
        return {}
    if directive not in (None, "merge"):
        raise bad_request(f'unknown $patch "{directive}": use replace, delete or merge')
    merged = dict(value) if isinstance(value, Mapping) else {}
    if "$retainKeys" in patch:
        merged = {key: item for key, item in merged.items() if key in patch["$retainKeys"]}
    for key, item in patch.items():
        if key.startswith(_DELETE_FROM):
            field = key.removeprefix(_DELETE_FROM)
            merged[field] = [entry for entry in merged.get(field) or [] if entry not in item]
        elif not key.startswith("$"):
            _member(node, merged, key, item)
    for key, item in patch.items():
        if key.startswith(_ORDER):
            _reorder(node, merged, key.removeprefix(_ORDER), item, value)
    return merged


def _member(node: Node, merged: dict[str, Any], key: str, item: Any) -> None:
    inner = kinds.child(node, key)
    if item is None:
        merged.pop(key, None)
    elif isinstance(item, list) and inner.get("x-kubernetes-patch-strategy", "").startswith("merge"):
        merged[key] = _merge_list(inner, merged.get(key) or [], item)
    elif isinstance(item, Mapping):
        merged[key] = strategic_merge(inner, merged.get(key), item)
    else:
        merged[key] = json_copy(item)


def _merge_list(node: Node, value: list[Any], patch: list[Any]) -> list[Any]:
    key = node.get("x-kubernetes-patch-merge-key")
    if key is None:
        return [*value, *(json_copy(item) for item in patch if item not in value)]
    if {"$patch": "replace"} in patch:
        return [json_copy(item) for item in patch if item != {"$patch": "replace"}]
    merged = list(value)
    for item in patch:
        if not isinstance(item, Mapping) or item.get(key) is None:
            raise bad_request(f'an element of a strategic merge patch lacks its merge key "{key}"')
        at = next((i for i, entry in enumerate(merged) if entry.get(key) == item[key]), None)
        if item.get("$patch") == "delete":
            merged = [entry for entry in merged if entry.get(key) != item[key]]
        elif at is None:
            merged.append(strategic_merge(kinds.element(node), {}, item))
        else:
            merged[at] = strategic_merge(kinds.element(node), merged[at], item)
    return merged


def _reorder(node: Node, merged: dict[str, Any], field: str, order: Any, live: Any) -> None:
    """Put a list into the order a patch asks for; what only the server has keeps its place among its neighbours."""
    key = kinds.child(node, field).get("x-kubernetes-patch-merge-key")
    if not isinstance(merged.get(field), list) or not isinstance(order, list):
        return

    def name(entry: Any) -> Any:
        return entry.get(key) if isinstance(entry, Mapping) else entry

    wanted = [name(entry) for entry in order]
    before = [name(entry) for entry in live.get(field) or ()] if isinstance(live, Mapping) else []
    asked = sorted((e for e in merged[field] if name(e) in wanted), key=lambda entry: wanted.index(name(entry)))
    others = [entry for entry in merged[field] if name(entry) not in wanted]
    result: list[Any] = []
    while asked and others:
        left, right = name(others[0]), name(asked[0])
        first = left in before and right in before and before.index(left) < before.index(right)
        result.append((others if first else asked).pop(0))
    merged[field] = [*result, *others, *asked]
