"""Tables for `kubectl get`: the server chooses the columns and writes the cells, the client only aligns them.

The HTTP layer calls `table` when the Accept header asks for it (`wants_table`): for lists, single objects
and watch events.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from manta_operator.box.apiserver import durations
from manta_operator.box.apiserver.columns import COLUMNS, DEFAULT, NAME, Column
from manta_operator.box.apiserver.jsonpath import find
from manta_operator.box.apiserver.resources import Resource
from manta_operator.box.cluster import Object

_NAME_DESCRIPTION = "Name must be unique within a namespace."


def wants_table(accept: str) -> bool:
    """Whether the first choice of an Accept header is a meta.k8s.io/v1 Table."""
    parameters = {part.strip() for part in accept.partition(",")[0].split(";")[1:]}
    return {"as=Table", "v=v1", "g=meta.k8s.io"} <= parameters


def table(
    resource: Resource,
    objects: list[Object],
    list_metadata: Object,
    now: datetime,
    include_object: str = "Metadata",
) -> Object:
    """Return a meta.k8s.io/v1 Table, one row an object.

    Args:
        resource: Kind of the objects.
        objects: The objects; only read, never changed.
        list_metadata: metadata of the list (resourceVersion, continue), or of the one object.
        now: What ages are counted to.
        include_object: What each row carries: "None", "Metadata" or "Object" (the query parameter includeObject).
    """
    columns = columns_of(resource)
    rows = []
    for obj in objects:
        row: Object = {"cells": [_cell(column, obj, now) for column in columns]}
        if include_object != "None":
            row["object"] = obj if include_object == "Object" else _partial(obj)
        rows.append(row)
    definitions = [_definition(column) for column in columns]
    metadata = {key: list_metadata[key] for key in _LIST_METADATA if list_metadata.get(key)}
    head = {"kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": metadata}
    return head | {"columnDefinitions": definitions, "rows": rows}


_LIST_METADATA = ("resourceVersion", "continue", "remainingItemCount")


def columns_of(resource: Resource) -> Sequence[Column]:
    """Return the columns of a kind: its own, its CRD's, or name and age."""
    printed = resource.crd_version.get("additionalPrinterColumns") if resource.crd_version else None
    if printed:
        return (NAME, *map(_custom, printed))
    return DEFAULT if resource.crd_version else COLUMNS.get((resource.group, resource.kind), DEFAULT)


def _custom(printed: Mapping[str, Any]) -> Column:
    return Column(
        name=printed["name"],
        read=printed["jsonPath"],
        type=printed["type"],
        priority=printed.get("priority", 0),
        format=printed.get("format", ""),
        description=printed.get("description", ""),
    )


def _definition(column: Column) -> Object:
    description = column.description or (_NAME_DESCRIPTION if column is NAME else column.name)
    return {
        "name": column.name,
        "type": column.type,
        "format": column.format,
        "description": description,
        "priority": column.priority,
    }


def _partial(obj: Object) -> Object:
    return {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": obj["metadata"]}


def _cell(column: Column, obj: Object, now: datetime) -> Any:
    if not isinstance(column.read, str):
        return column.read(obj, now)
    try:
        found = find(column.read, obj)
    except ValueError:  # a path beyond our subset: the column stays empty, the rest of the table is shown
        return None
    if not found or found[0] is None:
        return column.default
    return durations.age(found[0], now) if column.type == "date" else _typed(column.type, found)


def _typed(kind: str, found: list[Any]) -> Any:
    value = found[0]
    if kind == "integer":
        return int(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
    if kind == "number":
        return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
    if kind == "boolean":
        return value if isinstance(value, bool) else None
    return " ".join(map(_text, found))


def _text(value: Any) -> str:
    return value if isinstance(value, str) else _json(value)


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))
