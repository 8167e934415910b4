"""Tables as `kubectl get` shows them: columns of built-in kinds as data, of custom kinds from their CRDs."""

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from manta_operator.box.apiserver.resources import Resource
from manta_operator.box.apiserver.selectors import field_value, selector_text

Object = Mapping[str, Any]
Cell = Callable[[Object], Any]


def _age(text: str | None) -> str:
    if not text:
        return "<unknown>"
    seconds = int((datetime.now(UTC) - datetime.fromisoformat(text)).total_seconds())
    for unit, size, limit in (("s", 1, 120), ("m", 60, 7200), ("h", 3600, 172800)):
        if seconds < limit:
            return f"{max(0, seconds // size)}{unit}"
    return f"{seconds // 86400}d"


def _at(path: str, empty: str = "") -> Cell:
    return lambda obj: field_value(obj, path) or empty


def _number(path: str) -> Cell:
    return lambda obj: int(field_value(obj, path) or 0)


def _created(obj: Object) -> str:
    return _age(obj["metadata"].get("creationTimestamp"))


def _pod_ready(pod: Object) -> str:
    statuses = pod.get("status", {}).get("containerStatuses", ())
    return f"{sum(1 for s in statuses if s.get('ready'))}/{len(pod.get('spec', {}).get('containers', ()))}"


def _pod_state(pod: Object) -> str:
    if "deletionTimestamp" in pod["metadata"]:
        return "Terminating"
    status = pod.get("status", {})
    for each in (*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ())):
        state = each.get("state", {})
        for sort in ("waiting", "terminated"):
            reason = state.get(sort, {}).get("reason")
            if reason and reason != "Completed":
                return str(reason)
    return str(status.get("reason") or status.get("phase", "Unknown"))


def _restarts(pod: Object) -> str:
    return str(sum(each.get("restartCount", 0) for each in pod.get("status", {}).get("containerStatuses", ())))


def _of_desired(field: str) -> Cell:
    return lambda obj: f"{int(field_value(obj, field) or 0)}/{int(field_value(obj, 'spec.replicas') or 0)}"


def _ports(service: Object) -> str:
    return ",".join(f"{p['port']}/{p.get('protocol', 'TCP')}" for p in service["spec"].get("ports", ())) or "<none>"


def _involved(event: Object) -> str:
    what = event.get("involvedObject", {})
    return f"{str(what.get('kind', '')).lower()}/{what.get('name', '')}"


def _node_status(node: Object) -> str:
    conditions = node.get("status", {}).get("conditions", ())
    ready = any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)
    return ("Ready" if ready else "NotReady") + (
        ",SchedulingDisabled" if node.get("spec", {}).get("unschedulable") else ""
    )


def _images(obj: Object) -> str:
    containers = obj["spec"].get("template", {}).get("spec", {}).get("containers", ())
    return ",".join(each["image"] for each in containers)


def _last_seen(event: Object) -> str:
    return _age(event.get("lastTimestamp") or event.get("eventTime") or event["metadata"].get("creationTimestamp"))


def _selector(obj: Object) -> str:
    return selector_text(obj["spec"].get("selector")) or "<none>"


def _size(field: str) -> Cell:
    return lambda obj: len(obj.get(field) or ())


_COLUMNS: dict[str, tuple[tuple[str, Cell, int], ...]] = {
    "Pod": (
        ("Ready", _pod_ready, 0),
        ("Status", _pod_state, 0),
        ("Restarts", _restarts, 0),
        ("Age", _created, 0),
        ("IP", _at("status.podIP", "<none>"), 1),
        ("Node", _at("spec.nodeName", "<none>"), 1),
    ),
    "Deployment": (
        ("Ready", _of_desired("status.readyReplicas"), 0),
        ("Up-to-date", _number("status.updatedReplicas"), 0),
        ("Available", _number("status.availableReplicas"), 0),
        ("Age", _created, 0),
        ("Images", _images, 1),
        ("Selector", _selector, 1),
    ),
    "StatefulSet": (("Ready", _of_desired("status.readyReplicas"), 0), ("Age", _created, 0), ("Images", _images, 1)),
    "ReplicaSet": (
        ("Desired", _number("spec.replicas"), 0),
        ("Current", _number("status.replicas"), 0),
        ("Ready", _number("status.readyReplicas"), 0),
        ("Age", _created, 0),
    ),
    "Service": (
        ("Type", _at("spec.type"), 0),
        ("Cluster-IP", _at("spec.clusterIP", "<none>"), 0),
        ("External-IP", lambda _: "<none>", 0),
        ("Port(s)", _ports, 0),
        ("Age", _created, 0),
    ),
    "Event": (
        ("Last Seen", _last_seen, 0),
        ("Type", _at("type"), 0),
        ("Reason", _at("reason"), 0),
        ("Object", _involved, 0),
        ("Message", _at("message"), 0),
    ),
    "Node": (("Status", _node_status, 0), ("Age", _created, 0), ("Version", _at("status.nodeInfo.kubeletVersion"), 0)),
    "Namespace": (("Status", _at("status.phase"), 0), ("Age", _created, 0)),
    "ConfigMap": (("Data", _size("data"), 0), ("Age", _created, 0)),
    "Secret": (("Type", _at("type"), 0), ("Data", _size("data"), 0), ("Age", _created, 0)),
    "CustomResourceDefinition": (("Created At", _at("metadata.creationTimestamp"), 0),),
}
_PLAIN: tuple[tuple[str, Cell, int], ...] = (("Age", _created, 0),)


def _custom_columns(version: Object) -> tuple[tuple[str, Cell, int], ...]:
    found = []
    for column in version.get("additionalPrinterColumns", ()):
        cell = _json_path(column["jsonPath"])
        if column["type"] == "date":
            cell = _as_age(cell)
        found.append((column["name"], cell, column.get("priority", 0)))
    return tuple(found) or _PLAIN


def _as_age(cell: Cell) -> Cell:
    return lambda obj: _age(cell(obj) or None)


def _json_path(path: str) -> Cell:
    """Read a dotted path that may hold one filter: `.status.conditions[?(@.type=="Ready")].status`."""
    before, bracket, after = path.partition("[?(@.")
    if not bracket:
        return _at(path)
    test, _, rest = after.partition(")]")
    field, _, wanted = test.partition("==")

    def cell(obj: Object) -> Any:
        value: Any = obj
        for part in before.strip(".").split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        for item in value if isinstance(value, list) else ():
            if str(item.get(field.strip())) == wanted.strip().strip("'\""):
                return field_value(item, rest)
        return ""

    return cell


def table(resource: Resource, objects: Iterable[Object], meta: Mapping[str, Any], include: str) -> dict[str, Any]:
    """Return a Table of objects; `include` is None, Metadata or Object (of each object, beside its cells)."""
    columns = _custom_columns(resource.crd_version) if resource.crd_version else _COLUMNS.get(resource.kind, _PLAIN)
    shown = [("Name", _at("metadata.name"), 0), *columns] if resource.kind != "Event" else list(columns)
    rows = []
    for obj in objects:
        row: dict[str, Any] = {"cells": [cell(obj) for _, cell, _ in shown]}
        if include == "Object":
            row["object"] = obj
        elif include != "None":
            row["object"] = {
                "kind": "PartialObjectMetadata",
                "apiVersion": "meta.k8s.io/v1",
                "metadata": obj["metadata"],
            }
        rows.append(row)
    headers = [
        {
            "name": name,
            "type": "string",
            "format": "name" if name == "Name" else "",
            "description": name,
            "priority": low,
        }
        for name, _, low in shown
    ]
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": dict(meta),
        "columnDefinitions": headers,
        "rows": rows,
    }
