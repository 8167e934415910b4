"""The three plain patch types: JSON merge, JSON, strategic merge. Pure; server-side apply lives in ssa.py."""

from collections.abc import Mapping
from typing import Any

import jsonpatch

from manta_operator.box.apiserver.errors import bad_request
from manta_operator.box.apiserver.kinds import Node
from manta_operator.box.apiserver.strategic import strategic_merge
from manta_operator.box.cluster import ApiError
from manta_operator.schema.json_copy import json_copy

MERGE = "application/merge-patch+json"
JSON = "application/json-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
APPLY = ("application/apply-patch+yaml", "application/apply-patch+cbor")
_TOO_MANY = 10_000
_PYTHON = (TypeError, KeyError, ValueError, AttributeError)  # what jsonpatch lets through


def merge_patch(value: Any, patch: Any) -> Any:
    """Apply a JSON merge patch (RFC 7386)."""
    if not isinstance(patch, Mapping):
        return json_copy(patch)
    merged = dict(value) if isinstance(value, Mapping) else {}
    for key, item in patch.items():
        if item is None:
            merged.pop(key, None)
        else:
            merged[key] = merge_patch(merged.get(key), item)
    return merged


def json_patch(value: Any, patch: Any) -> Any:
    """Apply a JSON patch (RFC 6902); ApiError 400 if it is no list of objects, 422 naming the operation that fails."""
    if not isinstance(patch, list) or len(patch) > _TOO_MANY:
        raise bad_request(f"a JSON patch is a list of at most {_TOO_MANY} operations")
    result = json_copy(value)
    for index, operation in enumerate(patch):
        where = f"operation {index} of the JSON patch"
        if isinstance(operation, Mapping):
            where += f" ({operation.get('op')} {operation.get('path')})"
        else:
            raise bad_request(f"{where} is no object")
        try:
            result = jsonpatch.apply_patch(result, [operation], in_place=True)
        except (jsonpatch.JsonPatchException, jsonpatch.JsonPointerException, *_PYTHON) as error:
            message = f"the server rejected our request due to an error in our request: {where} failed: {error}"
            raise ApiError(422, "Invalid", message) from error
    return result


def patched(content_type: str, node: Node, obj: dict[str, Any], patch: Any, *, custom: bool) -> dict[str, Any]:
    """Apply a patch of a content type.

    Raises:
        ApiError: 400 or 422 if the patch cannot be applied, 415 for an unknown type.
    """
    if content_type == JSON:
        result = json_patch(obj, patch)
    elif not isinstance(patch, Mapping):
        raise bad_request("the patch must be a JSON object")
    elif content_type == MERGE:
        result = merge_patch(obj, patch)
    elif content_type == STRATEGIC and not custom:
        result = strategic_merge(node, obj, patch)
    else:
        known = [JSON, MERGE, APPLY[0]] + ([] if custom else [STRATEGIC])
        message = f'the body of the request was in an unknown format "{content_type}": use one of {", ".join(known)}'
        raise ApiError(415, "UnsupportedMediaType", message)
    if not isinstance(result, dict) or not isinstance(result.get("metadata"), dict):
        raise bad_request("the patch leaves no object with metadata")
    return result
