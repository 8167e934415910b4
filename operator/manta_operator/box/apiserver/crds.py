"""CustomResourceDefinitions: checks them, serves their kinds at once, and says so in their status."""

from collections.abc import Mapping
from typing import Any

from manta_operator.box.apiserver.errors import invalid
from manta_operator.box.apiserver.resources import Registry, Resource, ScalePaths
from manta_operator.schema.errors import FieldError, SchemaError
from manta_operator.schema.structural import StructuralSchema

KIND = "CustomResourceDefinition"


def resources_of(registry: Registry, crd: Mapping[str, Any]) -> list[Resource]:
    """Return the kinds a definition serves, one for each served version; ApiError 422 if it is not a valid one."""
    definition = registry.named(KIND)
    assert definition is not None  # noqa: S101 - a built-in kind
    name, errors, found = crd["metadata"]["name"], _check_names(crd), []
    for index, version in enumerate(crd["spec"]["versions"]):
        if not version.get("served"):
            continue
        try:
            found.append(_resource(crd, version))
        except SchemaError as error:
            where = f"spec.versions[{index}].schema.openAPIV3Schema"
            errors.append(FieldError(where, "Invalid value", str(error)))
    if errors:
        raise invalid(definition, name, errors)
    return found


def _check_names(crd: Mapping[str, Any]) -> list[FieldError]:
    spec, name = crd["spec"], crd["metadata"]["name"]
    wanted = f"{spec['names']['plural']}.{spec['group']}"
    errors = []
    if name != wanted:
        errors.append(
            FieldError("metadata.name", "Invalid value", f'must be spec.names.plural+"."+spec.group: {wanted}', name)
        )
    if sum(1 for version in spec["versions"] if version.get("storage")) != 1:
        errors.append(FieldError("spec.versions", "Invalid value", "exactly one version must be the storage version"))
    for index, version in enumerate(spec["versions"]):
        if "openAPIV3Schema" not in version.get("schema", {}):
            where = f"spec.versions[{index}].schema.openAPIV3Schema"
            errors.append(FieldError(where, "Required value", "schemas are required"))
    return errors


def _resource(crd: Mapping[str, Any], version: Mapping[str, Any]) -> Resource:
    spec, names = crd["spec"], crd["spec"]["names"]
    sub = version.get("subresources") or {}
    scale = sub.get("scale")
    schema = (version.get("schema") or {}).get("openAPIV3Schema", {"type": "object"})
    return Resource(
        spec["group"],
        version["name"],
        names["kind"],
        names["plural"],
        names.get("singular") or names["kind"].lower(),
        namespaced=spec["scope"] == "Namespaced",
        short_names=tuple(names.get("shortNames", ())),
        categories=tuple(names.get("categories", ())),
        status="status" in sub,
        scale=scale
        and ScalePaths(scale["specReplicasPath"], scale["statusReplicasPath"], scale.get("labelSelectorPath")),
        schema=StructuralSchema(schema),
        crd=crd,
        crd_version=version,
    )


def with_names(crd: dict[str, Any]) -> dict[str, Any]:
    """Fill in the names a definition leaves out."""
    names = crd.get("spec", {}).get("names", {})
    if "kind" in names:
        names.setdefault("singular", names["kind"].lower())
        names.setdefault("listKind", names["kind"] + "List")
    crd.get("spec", {}).setdefault("conversion", {"strategy": "None"})
    return crd


def established(crd: Mapping[str, Any], now: str) -> dict[str, Any]:
    """Return the status of a definition whose kinds are served."""
    spec = crd["spec"]
    conditions = [
        {"type": kind, "status": "True", "reason": reason, "message": message, "lastTransitionTime": now}
        for kind, reason, message in (
            ("NamesAccepted", "NoConflicts", "no conflicts found"),
            ("Established", "InitialNamesAccepted", "the initial names have been accepted"),
        )
    ]
    stored = [version.get("name") for version in spec["versions"] if version.get("storage")]
    return {"acceptedNames": dict(spec["names"]), "conditions": conditions, "storedVersions": stored}
