"""Schemas of kinds in OpenAPI's two dialects: built-in ones from kubernetes-validate, custom ones from their CRD.

Used by `openapi` for components and by `openapi_paths` for references. kubectl reads field names, descriptions, types,
list keys and patch strategies from here (`explain`, client-side apply).
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from manta_operator.box.apiserver.resources import Resource
from manta_operator.box.cluster import Object

_SCHEMAS = resources.files("kubernetes_validate").joinpath("kubernetes-json-schema", "v1.37.0-local")
_META = "io.k8s.apimachinery.pkg.apis.meta.v1."
OBJECT_META, LIST_META = f"{_META}ObjectMeta", f"{_META}ListMeta"
DELETE_OPTIONS, STATUS, PATCH = f"{_META}DeleteOptions", f"{_META}Status", f"{_META}Patch"
SCALE = "io.k8s.api.autoscaling.v1.Scale"
EVICTION = "io.k8s.api.policy.v1.Eviction"
_INT_OR_STRING = "io.k8s.apimachinery.pkg.util.intstr.IntOrString"
_QUANTITY = "io.k8s.apimachinery.pkg.api.resource.Quantity"
_GVK = "x-kubernetes-group-version-kind"
_ONE_BELOW = ("items", "additionalProperties", "not")
_SOME_BELOW = ("allOf", "anyOf", "oneOf")
_V3_ONLY = frozenset({"nullable", "allOf", "anyOf", "oneOf", "not", "default", "x-kubernetes-validations"})


@dataclass(frozen=True)
class Dialect:
    """OpenAPI v3, or v2 (swagger)."""

    prefix: str
    is_v3: bool

    def ref(self, name: str) -> Object:
        """Return a reference to a schema of the same document."""
        return {"$ref": self.prefix + name}


V3 = Dialect("#/components/schemas/", is_v3=True)
V2 = Dialect("#/definitions/", is_v3=False)


def name_of(resource: Resource, *, of_list: bool = False) -> str | None:
    """Return the name of a kind's schema in a document; None for a built-in kind without one."""
    kind = resource.list_kind if of_list else resource.kind
    if resource.crd is None:
        return _by_kind().get((resource.group, resource.version, kind))
    return f"{'.'.join(reversed(resource.group.split('.')))}.{resource.version}.{kind}"


def schemas_for(dialect: Dialect, kinds: Iterable[Resource], others: Iterable[str]) -> dict[str, Object]:
    """Return the schemas of kinds and their lists, of others by name, and of everything they refer to."""
    found: dict[str, Object] = {}
    wanted = [*others, OBJECT_META, LIST_META]
    for resource in kinds:
        if resource.crd is not None:
            found |= _custom(dialect, resource)
        else:
            wanted += filter(None, (name_of(resource), name_of(resource, of_list=True)))
    while wanted:
        name = wanted.pop()
        if name not in found:
            found[name] = _built_in(dialect, name)
            wanted += _references(_definitions()[name])
    return dict(sorted(found.items()))


@cache
def _definitions() -> dict[str, Any]:
    contents: dict[str, Any] = json.loads(_SCHEMAS.joinpath("_definitions.json").read_text("utf-8"))["$defs"]
    return contents


@cache
def _by_kind() -> dict[tuple[str, str, str], str]:
    found = {}
    for name, schema in _definitions().items():
        kinds = schema.get(_GVK, [])
        if len(kinds) == 1:  # DeleteOptions and WatchEvent belong to every group
            found[kinds[0]["group"], kinds[0]["version"], kinds[0]["kind"]] = name
    return found


def _references(schema: Any) -> list[str]:
    if isinstance(schema, list):
        return [name for one in schema for name in _references(one)]
    if not isinstance(schema, dict):
        return []
    reference = schema.get("$ref")
    own = [reference.rpartition("/")[2]] if isinstance(reference, str) else []
    return own + [name for one in schema.values() for name in _references(one)]


def _built_in(dialect: Dialect, name: str) -> Object:
    schema = dict(_definitions()[name])
    if name == _INT_OR_STRING:
        return _either(dialect, schema, "integer") | {"format": "int-or-string"}
    if name == _QUANTITY:
        return _either(dialect, schema, "number")
    if schema.get(_GVK):  # the package restricts both to one value, the real document does not
        properties = dict(schema.get("properties") or {})
        for field in {"apiVersion", "kind"} & set(properties):
            properties[field] = {key: value for key, value in properties[field].items() if key != "enum"}
        schema["properties"] = properties
    return _convert(dialect, schema)


def _either(dialect: Dialect, schema: Object, other: str) -> Object:
    kept = {"description": schema["description"]} if "description" in schema else {}
    return kept | ({"oneOf": [{"type": "string"}, {"type": other}]} if dialect.is_v3 else {"type": "string"})


def _convert(dialect: Dialect, schema: Mapping[str, Any]) -> Object:
    """Turn JSON Schema, or the schema of a CRD, into the dialect."""
    if isinstance(schema.get("$ref"), str):
        return _reference(dialect, schema)
    out: Object = {}
    for key, value in schema.items():
        if key in _V3_ONLY and not dialect.is_v3:
            continue
        if key == "properties":
            out[key] = {name: _convert(dialect, below) for name, below in value.items()}
        elif key in _ONE_BELOW and isinstance(value, dict):
            out[key] = _convert(dialect, value)
        elif key in _SOME_BELOW:
            out[key] = [_convert(dialect, below) for below in value]
        elif key == "type" and isinstance(value, list):
            out[key] = next(one for one in value if one != "null")
        else:
            out[key] = value
    return out


def _reference(dialect: Dialect, schema: Mapping[str, Any]) -> Object:
    """v3 ignores what stands beside a $ref, so it goes into an allOf, or descriptions get lost."""
    reference = dialect.ref(schema["$ref"].rpartition("/")[2])
    beside = {key: value for key, value in schema.items() if key != "$ref"}
    if not dialect.is_v3:
        return reference | beside
    return {"allOf": [reference], "default": {}} | beside if beside else reference


def _custom(dialect: Dialect, resource: Resource) -> dict[str, Object]:
    version = resource.crd_version or {}
    raw = (version.get("schema") or {}).get("openAPIV3Schema") or {"x-kubernetes-preserve-unknown-fields": True}
    schema: Object = {"type": "object"} | _convert(dialect, raw)
    own, own_list = str(name_of(resource)), str(name_of(resource, of_list=True))
    head = {name: _convert(dialect, _definitions()[STATUS]["properties"][name]) for name in ("apiVersion", "kind")}
    for field in head.values():
        field.pop("enum", None)
    metadata = {"metadata": _convert(dialect, {"$ref": OBJECT_META, "description": "Standard object's metadata."})}
    schema["properties"] = head | metadata | _without_head(schema.get("properties") or {})
    schema[_GVK] = [_gvk(resource, resource.kind)]
    items = {"type": "array", "items": dialect.ref(own), "description": f"List of {resource.plural}."}
    list_metadata = _convert(dialect, {"$ref": LIST_META, "description": "Standard list metadata."})
    listed: Object = {
        "description": f"{resource.list_kind} is a list of {resource.kind}",
        "type": "object",
        "required": ["items"],
        "properties": head | {"items": items, "metadata": list_metadata},
        _GVK: [_gvk(resource, resource.list_kind)],
    }
    return {own: schema, own_list: listed}


def _without_head(properties: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in properties.items() if name not in ("apiVersion", "kind", "metadata")}


def _gvk(resource: Resource, kind: str) -> dict[str, str]:
    return {"group": resource.group, "version": resource.version, "kind": kind}
