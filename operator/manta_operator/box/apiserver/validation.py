"""Rules of built-in kinds that types do not tell: names, selectors, fields that must not change."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from manta_operator.box.apiserver import service_rules
from manta_operator.box.apiserver.resources import Resource
from manta_operator.box.apiserver.selectors import matches_selector
from manta_operator.schema.errors import FieldError, render_value

Object = Mapping[str, Any]

_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*\Z")
_LABEL_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?\Z")
_LABEL_VALUE = re.compile(r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?\Z")
_LABEL_KEY = re.compile(r"([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?\Z")
_QUANTITY = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([KMGTPE]i|[numkMGTPE]|[eE][+-]?\d+)?\Z")
_FREE_NAMES = frozenset({"Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"})
_WITH_SELECTOR = frozenset({"Deployment", "StatefulSet", "ReplicaSet"})
_POD_MAY_CHANGE = frozenset(
    {"activeDeadlineSeconds", "tolerations", "terminationGracePeriodSeconds", "schedulingGates", "nodeName"}
)
_SET_MAY_CHANGE = frozenset(
    {
        "replicas",
        "ordinals",
        "template",
        "updateStrategy",
        "revisionHistoryLimit",
        "persistentVolumeClaimRetentionPolicy",
        "minReadySeconds",
    }
)


def validate_metadata(resource: Resource, obj: Object) -> list[FieldError]:
    """Check name and labels of any kind."""
    meta = obj["metadata"]
    name = meta.get("name", "")
    errors: list[FieldError] = []
    wanted, what = (_LABEL_NAME, "label") if resource.kind in ("Service", "Namespace") else (_SUBDOMAIN, "subdomain")
    longest = 63 if what == "label" else 253
    if resource.kind not in _FREE_NAMES and (not wanted.match(name) or len(name) > longest):
        why = f"a lowercase RFC 1123 {what} must consist of lower case alphanumeric characters or '-'"
        why += " or '.'" if what == "subdomain" else ""
        why += f", start and end with one of the former, and have at most {longest} characters"
        errors.append(FieldError("metadata.name", "Invalid value", why, f'"{name}"'))
    for key, value in (meta.get("labels") or {}).items():
        if not _LABEL_KEY.match(key):
            errors.append(FieldError("metadata.labels", "Invalid value", "is not a valid label key", f'"{key}"'))
        if not isinstance(value, str) or len(value) > 63 or not _LABEL_VALUE.match(value):
            why = "at most 63 alphanumeric characters, '-', '_' or '.'; starts and ends alphanumeric"
            errors.append(FieldError("metadata.labels", "Invalid value", why, f'"{value}"'))
    return errors + _validate_owners(meta)


def _validate_owners(meta: Object) -> list[FieldError]:
    owners = meta.get("ownerReferences") or []
    if sum(1 for owner in owners if owner.get("controller")) > 1:
        why = "Only one reference can have Controller set to true"
        return [FieldError("metadata.ownerReferences", "Invalid value", why)]
    return [
        FieldError(f"metadata.ownerReferences[{index}].{key}", "Invalid value", "must not be empty", '""')
        for index, owner in enumerate(owners)
        for key in ("apiVersion", "kind", "name", "uid")
        if not owner.get(key)
    ]


def validate(resource: Resource, obj: Object, old: Object | None) -> list[FieldError]:
    """Check a built-in object, after defaulting; `old` is what is stored now."""
    errors: list[FieldError] = []
    spec = obj.get("spec") or {}
    if resource.kind in _WITH_SELECTOR:
        errors += _selector(resource, spec, (old or {}).get("spec"))
        errors += _pod_spec(spec.get("template", {}).get("spec", {}), "spec.template.spec")
    if isinstance(spec.get("replicas"), int) and spec["replicas"] < 0:
        errors.append(
            FieldError("spec.replicas", "Invalid value", "must be greater than or equal to 0", str(spec["replicas"]))
        )
    check = _CHECKS.get(resource.kind)
    return errors + (check(obj, old) if check else [])


def _selector(resource: Resource, spec: Object, old: Object | None) -> list[FieldError]:
    labels = spec.get("template", {}).get("metadata", {}).get("labels") or {}
    selector = spec.get("selector") or {}
    errors = []
    if not selector.get("matchLabels") and not selector.get("matchExpressions"):
        errors.append(FieldError("spec.selector", "Required value", "name the labels of this template's pods"))
    elif not matches_selector(selector, labels):
        why = "`selector` does not match template `labels`"
        errors.append(FieldError("spec.template.metadata.labels", "Invalid value", why, render_value(dict(labels))))
    if old is not None and resource.kind != "StatefulSet" and old.get("selector") != spec.get("selector"):
        errors.append(FieldError("spec.selector", "Invalid value", "field is immutable", render_value(selector)))
    return errors


def _pod_spec(spec: Object, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    seen: set[str] = set()
    if not spec.get("containers"):
        errors.append(FieldError(f"{path}.containers", "Required value", "a pod has at least one container"))
    for field in ("initContainers", "containers"):
        for index, container in enumerate(spec.get(field) or ()):
            where = f"{path}.{field}[{index}]"
            errors += _container(container, where, spec.get("volumes") or ())
            if container["name"] in seen:
                errors.append(FieldError(f"{where}.name", "Duplicate value", "", f'"{container["name"]}"'))
            seen.add(container["name"])
    return errors


def _container(container: Object, where: str, volumes: Any) -> list[FieldError]:
    errors: list[FieldError] = []
    if not _LABEL_NAME.match(str(container.get("name", ""))):
        errors.append(FieldError(f"{where}.name", "Invalid value", "must be a DNS label", f'"{container.get("name")}"'))
    if not container.get("image"):
        errors.append(FieldError(f"{where}.image", "Required value", ""))
    known = {volume.get("name") for volume in volumes}
    for index, mount in enumerate(container.get("volumeMounts") or ()):
        if mount["name"] not in known:
            errors.append(FieldError(f"{where}.volumeMounts[{index}].name", "Not found", "", f'"{mount["name"]}"'))
    for sort, amounts in (container.get("resources") or {}).items():
        for name, amount in amounts.items() if isinstance(amounts, Mapping) else ():
            if not _QUANTITY.match(str(amount)):
                why = 'is no quantity: write for example "500m", "2" or "4Gi"'
                errors.append(FieldError(f"{where}.resources.{sort}[{name}]", "Invalid value", why, f'"{amount}"'))
    return errors


def _pod(obj: Object, old: Object | None) -> list[FieldError]:
    if old is None:
        return _pod_spec(obj.get("spec") or {}, "spec")
    before, after = _fixed_part(old["spec"]), _fixed_part(obj.get("spec") or {})
    moved = old["spec"].get("nodeName") not in (None, obj.get("spec", {}).get("nodeName"))
    if before == after and not moved:
        return []
    why = "pod updates may not change fields other than image, "
    why += "activeDeadlineSeconds, tolerations, terminationGracePeriodSeconds"
    return [FieldError("spec", "Forbidden", why)]


def _fixed_part(spec: Object) -> dict[str, Any]:
    fixed = {key: value for key, value in spec.items() if key not in _POD_MAY_CHANGE}
    for field in ("containers", "initContainers"):
        if field in fixed:
            fixed[field] = [{k: v for k, v in item.items() if k != "image"} for item in fixed[field]]
    return fixed


def _stateful_set(obj: Object, old: Object | None) -> list[FieldError]:
    if old is None:
        return []
    keys = {*obj["spec"], *old["spec"]} - _SET_MAY_CHANGE
    if all(obj["spec"].get(key) == old["spec"].get(key) for key in keys):
        return []
    why = f"updates to statefulset spec for fields other than {', '.join(sorted(_SET_MAY_CHANGE))} are forbidden"
    return [FieldError("spec", "Forbidden", why)]


def _budget(obj: Object, _: Object | None) -> list[FieldError]:
    spec = obj.get("spec") or {}
    if "minAvailable" in spec and "maxUnavailable" in spec:
        why = "minAvailable and maxUnavailable cannot be both set"
        return [FieldError("spec", "Invalid value", why, render_value(spec))]
    return []


def _role_binding(obj: Object, old: Object | None) -> list[FieldError]:
    if old is not None and old.get("roleRef") != obj.get("roleRef"):
        return [FieldError("roleRef", "Invalid value", "cannot change roleRef")]
    return []


def _frozen_data(obj: Object, old: Object | None) -> list[FieldError]:
    if old is not None and old.get("immutable") and any(obj.get(k) != old.get(k) for k in ("data", "binaryData")):
        return [FieldError("data", "Forbidden", "field is immutable when `immutable` is set")]
    return []


_CHECKS: dict[str, Callable[[Object, Object | None], list[FieldError]]] = {
    "Pod": _pod,
    "StatefulSet": _stateful_set,
    "Service": service_rules.service,
    "PodDisruptionBudget": _budget,
    "RoleBinding": _role_binding,
    "ClusterRoleBinding": _role_binding,
    "ConfigMap": _frozen_data,
    "Secret": _frozen_data,
}
