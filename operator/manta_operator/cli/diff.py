"""What differs between an object as it is and as it would be: for `manta plan --diff`. Pure.

The API server says what would be (a dry run of the apply); here is decided how to ask, and what counts of the answer.
"""

import difflib
import json
from collections.abc import Iterator, Mapping
from copy import deepcopy
from typing import Any

import click
import yaml

from manta_operator.api import names

Object = dict[str, Any]
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
_NOISE = ("managedFields", "resourceVersion", "generation", "uid", "creationTimestamp", "selfLink")
_SHOWN = 60


def merge_patch(live: Object | None, manifest: Object) -> Object | None:
    """Return the merge patch of `kubectl apply`, with what left the manifest as null; None if it would not patch so.

    kubectl knows from an annotation what it applied before; an object without it was applied server-side.
    """
    annotations = ((live or {}).get("metadata") or {}).get("annotations") or {}
    try:
        last = json.loads(annotations[LAST_APPLIED])
    except (KeyError, ValueError):
        return None
    return _with_removals(last, manifest)


def _with_removals(last: Any, wanted: Object) -> Object:
    result = deepcopy(wanted)
    for key, value in (last if isinstance(last, Mapping) else {}).items():
        if key not in wanted:
            result[key] = None
        elif isinstance(wanted[key], dict):
            result[key] = _with_removals(value, wanted[key])
    return result


def field_manager(live: Object | None, default: str = "kubectl") -> str:
    """Return who applied the spec last, server-side: the file is taken as applied by the same again."""
    entries = ((live or {}).get("metadata") or {}).get("managedFields") or ()
    applied = [
        (str(entry.get("time") or ""), str(entry["manager"]))
        for entry in entries
        if entry.get("operation") == "Apply" and not entry.get("subresource") and "f:spec" in entry.get("fieldsV1", {})
    ]
    return max(applied)[1] if applied else default


def unified(live: Object | None, merged: Object) -> list[str]:
    """Return a unified diff of what a person writes: labels, annotations and spec; empty if they are equal."""
    before, after = (_written(body).splitlines() if body else [] for body in (live, merged))
    label = f"{merged['metadata']['namespace']}/{merged['metadata']['name']}"
    lines = difflib.unified_diff(before, after, f"live {label}", f"after {label}", n=3, lineterm="")
    return [click.style(line, fg=_COLOURS.get(line[:1])) if line[:1] in _COLOURS else line for line in lines]


_COLOURS = {"+": "green", "-": "red", "@": "cyan"}


def _written(body: Object) -> str:
    metadata = body.get("metadata") or {}
    annotations = {key: value for key, value in (metadata.get("annotations") or {}).items() if key != LAST_APPLIED}
    shown = {"labels": metadata.get("labels"), "annotations": annotations, "spec": body.get("spec")}
    return yaml.safe_dump({key: value for key, value in shown.items() if value}, sort_keys=True, width=1000)


def changes(live: Object, merged: Object) -> list[str]:
    """Return one line for every field of a child that would change, without what the API server keeps for itself."""
    return list(_changed("", _comparable(live), _comparable(merged)))


def _comparable(body: Object) -> Object:
    metadata = {key: value for key, value in body["metadata"].items() if key not in _NOISE}
    return {key: value for key, value in body.items() if key not in ("status", "metadata")} | {"metadata": metadata}


def _changed(path: str, before: Any, after: Any) -> Iterator[str]:
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for key in sorted({*before, *after}):
            yield from _changed(f"{path}.{key}" if path else key, before.get(key), after.get(key))
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for number, pair in enumerate(zip(before, after, strict=True)):
            yield from _changed(f"{path}[{number}]", *pair)
    elif before != after:
        yield f"{path}: {_short(before)} -> {_short(after)}"


def _short(value: Any) -> str:
    text = "(none)" if value is None else value if isinstance(value, str) else json.dumps(value)
    text = " ".join(text.split())
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."


def foreign(child: Object | None, owner_uid: str) -> str | None:
    """Return whom a child belongs to that the operator would refuse to touch; None if it is ours or not there."""
    if child is None:
        return None
    references = child["metadata"].get("ownerReferences") or ()
    controller = next((ref for ref in references if ref.get("controller")), None)
    if controller is None:
        ours = (child["metadata"].get("labels") or {}).get(names.LABEL_MANAGED_BY) == "manta"
        return None if ours else "nobody, so not to this LLMDeployment"
    return None if controller["uid"] == owner_uid else f"{controller['kind']} {controller['name']}"
