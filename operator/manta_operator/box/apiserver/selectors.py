"""Label and field selectors: parsed once per request, asked once per object. Pure."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from manta_operator.box.apiserver.errors import bad_request
from manta_operator.box.apiserver.resources import Resource

Matches = Callable[[Mapping[str, Any]], bool]

_SETS = re.compile(r"^\s*(\S+)\s+(in|notin)\s*\(([^)]*)\)\s*$")
_EQUAL = re.compile(r"^\s*([^\s=!]+)\s*(==|=|!=)\s*([^\s=!]*)\s*$")
_KEY = re.compile(r"^\s*(!?)\s*([A-Za-z0-9][-A-Za-z0-9_./]*)\s*$")
_SPLIT = re.compile(r",(?![^()]*\))")

_FIELDS: dict[str, frozenset[str]] = {
    "Pod": frozenset({"spec.nodeName", "spec.restartPolicy", "spec.schedulerName", "status.phase", "status.podIP"}),
    "Event": frozenset(
        {f"involvedObject.{part}" for part in ("kind", "namespace", "name", "uid", "apiVersion", "fieldPath")}
        | {"reason", "type", "reportingComponent", "source"}
        | {f"regarding.{part}" for part in ("kind", "namespace", "name", "uid", "apiVersion")}
    ),
    "Secret": frozenset({"type"}),
    "Namespace": frozenset({"status.phase"}),
    "Node": frozenset({"spec.unschedulable"}),
    "ReplicaSet": frozenset({"status.replicas"}),
    "Service": frozenset({"spec.clusterIP", "spec.type"}),
}


def _requirement(text: str) -> Callable[[Mapping[str, str]], bool]:
    if found := _SETS.match(text):
        key, operator, listed = found.groups()
        values = {value.strip() for value in listed.split(",")}
        if operator == "in":
            return lambda labels: labels.get(key) in values
        return lambda labels: labels.get(key) not in values
    if found := _EQUAL.match(text):
        key, operator, value = found.groups()
        if operator == "!=":
            return lambda labels: labels.get(key) != value
        return lambda labels: labels.get(key) == value
    if found := _KEY.match(text):
        negated, key = found.groups()
        return lambda labels: (key in labels) != bool(negated)
    raise bad_request(f'unable to parse requirement "{text}": write key=value, key!=value, key in (a,b), key or !key')


def label_selector(text: str) -> Matches:
    """Parse a label selector; ApiError 400 if it is none."""
    requirements = [_requirement(part) for part in _SPLIT.split(text) if part.strip()]
    return lambda obj: all(holds(obj["metadata"].get("labels") or {}) for holds in requirements)


def field_value(obj: Mapping[str, Any], path: str) -> str:
    """Return what lies at a dotted path, as text; empty if there is nothing."""
    value: Any = obj
    for part in path.lstrip(".").split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _known_fields(resource: Resource) -> frozenset[str]:
    known = {"metadata.name", "metadata.namespace"} | _FIELDS.get(resource.kind, frozenset())
    for selectable in (resource.crd_version or {}).get("selectableFields", ()):
        known.add(selectable["jsonPath"].lstrip("."))
    return frozenset(known)


def field_selector(resource: Resource, text: str) -> Matches:
    """Parse a field selector of a kind; ApiError 400 if it is none, or names a field not served."""
    known = _known_fields(resource)
    wanted: list[tuple[str, bool, str]] = []
    for part in filter(str.strip, text.split(",")):
        found = _EQUAL.match(part)
        if found is None:
            raise bad_request(f'invalid field selector "{part}": write field=value or field!=value')
        path, operator, value = found.groups()
        if path not in known:
            raise bad_request(f'field label not supported: "{path}"; {resource.kind} has {", ".join(sorted(known))}')
        wanted.append((path, operator != "!=", value))
    return lambda obj: all((field_value(obj, path) == value) == equal for path, equal, value in wanted)


def selector_text(selector: Mapping[str, Any] | None) -> str:
    """Write a LabelSelector the way a query takes it, as scale subresources show it."""
    parts = [f"{key}={value}" for key, value in sorted(((selector or {}).get("matchLabels") or {}).items())]
    words = {"In": "in", "NotIn": "notin"}
    for rule in (selector or {}).get("matchExpressions") or ():
        if rule["operator"] in words:
            parts.append(f"{rule['key']} {words[rule['operator']]} ({','.join(rule.get('values', ()))})")
        else:
            parts.append(("" if rule["operator"] == "Exists" else "!") + rule["key"])
    return ",".join(parts)


def matches_selector(selector: Mapping[str, Any] | None, labels: Mapping[str, str]) -> bool:
    """Whether a LabelSelector selects these labels."""
    return label_selector(selector_text(selector))({"metadata": {"labels": labels}})
