"""Who owns which field: reads, updates and writes metadata.managedFields. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from manta_operator.box.apiserver.field_sets import FieldSet, from_fields_v1, holders, leaves, to_fields_v1
from manta_operator.box.apiserver.kinds import Node


@dataclass(frozen=True)
class Manager:
    """Who writes: name, how, with which version of the API, to which subresource ("" for the object itself)."""

    name: str
    operation: Literal["Apply", "Update"]
    api_version: str
    subresource: str = ""


Owners = dict[Manager, FieldSet]


def read(obj: Mapping[str, Any]) -> Owners:
    """Return the owners an object tells of."""
    owners: Owners = {}
    for entry in obj.get("metadata", {}).get("managedFields") or ():
        manager = Manager(entry["manager"], entry["operation"], entry["apiVersion"], entry.get("subresource", ""))
        owners[manager] = from_fields_v1(entry.get("fieldsV1") or {})
    return owners


def times(obj: Mapping[str, Any]) -> dict[Manager, str]:
    """Return when each owner last wrote, as an object tells of it."""
    entries = obj.get("metadata", {}).get("managedFields") or ()
    return {who: entry["time"] for who, entry in zip(read(obj), entries, strict=False) if entry.get("time")}


def write(obj: dict[str, Any], owners: Owners, before: Mapping[str, Any] | None, now: str) -> None:
    """Put the owners into an object; an entry whose fields did not change keeps its time."""
    known = read(before or {})
    then = times(before or {})
    written = []
    for manager, fields in owners.items():
        if not fields:
            continue
        entry: dict[str, Any] = {"manager": manager.name, "operation": manager.operation}
        entry |= {"apiVersion": manager.api_version, "time": now}
        if known.get(manager) == fields:
            entry["time"] = then.get(manager, now)
        entry |= {"fieldsType": "FieldsV1", "fieldsV1": to_fields_v1(fields)}
        if manager.subresource:
            entry["subresource"] = manager.subresource
        written.append(entry)
    obj["metadata"].pop("managedFields", None)
    # A fixed order, as on a real server: an apply that changes nothing must not change the object.
    written.sort(key=_place)
    if written:
        obj["metadata"]["managedFields"] = written


def _place(entry: Mapping[str, Any]) -> tuple[str, ...]:
    return entry["operation"], entry["time"], entry["manager"], entry["apiVersion"], entry.get("subresource", "")


def after_update(node: Node, before: Mapping[str, Any] | None, after: Mapping[str, Any], manager: Manager) -> Owners:
    """Return the owners after a plain write: what it changed is the writer's, what it removed is nobody's."""
    old, new = leaves(node, before or {}), leaves(node, after)
    holds, holding = holders(node, old), holders(node, new)
    was, there = holds | set(old), holding | set(new)
    changed = {path for path, value in new.items() if path not in was or (path in old and old[path] != value)}
    changed |= holding - was
    owners = read(before or {})
    removed = was - there
    lost = changed | removed
    for other, fields in owners.items():
        owners[other] = fields - lost if lost else fields
    if changed:
        owners[manager] = owners.get(manager, frozenset()) | changed
    return {who: fields for who, fields in owners.items() if fields}


def conflicts(owners: Owners, manager: Manager, changed: FieldSet) -> dict[Manager, FieldSet]:
    """Return which of the changed fields others own."""
    found: dict[Manager, FieldSet] = {}
    for other, fields in owners.items():
        if other == manager:
            continue
        if changed & fields:
            found[other] = changed & fields
    return found
