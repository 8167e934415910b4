"""Rules of Services that types do not tell: type, ports, the address that stays. Pure; called by validation.py."""

from collections.abc import Mapping
from typing import Any

from manta_operator.schema.errors import FieldError, render_value

Object = Mapping[str, Any]
_TYPES = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")


def service(obj: Object, old: Object | None) -> list[FieldError]:
    """Check a Service, after defaulting; `old` is what is stored now."""
    spec = obj.get("spec") or {}
    errors = _ports(spec)
    if spec.get("type") not in _TYPES:
        known = "supported values: " + ", ".join(f'"{name}"' for name in _TYPES)
        errors.append(FieldError("spec.type", "Unsupported value", known, render_value(spec.get("type"))))
    external = "ExternalName" in (spec.get("type"), (old or {}).get("spec", {}).get("type"))
    if old is not None and not external and old["spec"].get("clusterIP") != spec.get("clusterIP"):
        value = render_value([spec.get("clusterIP")])
        errors.append(FieldError("spec.clusterIPs[0]", "Invalid value", "may not change once set", value))
    return errors


def _ports(spec: Object) -> list[FieldError]:
    ports = spec.get("ports") or ()
    errors: list[FieldError] = []
    if spec.get("type") != "ExternalName" and not ports and spec.get("clusterIP") != "None":
        errors.append(FieldError("spec.ports", "Required value", ""))
    names: set[str] = set()
    numbers: set[tuple[int, str]] = set()
    for index, port in enumerate(ports):
        where, name, number = f"spec.ports[{index}]", port.get("name", ""), port.get("port", 0)
        if not name and len(ports) > 1:
            errors.append(FieldError(f"{where}.name", "Required value", ""))
        if name and name in names:
            errors.append(FieldError(f"{where}.name", "Duplicate value", "", render_value(name)))
        if not 1 <= number <= 65535:
            why = "must be between 1 and 65535, inclusive"
            errors.append(FieldError(f"{where}.port", "Invalid value", why, str(number)))
        if (number, port.get("protocol", "TCP")) in numbers:
            errors.append(FieldError(where, "Duplicate value", "", render_value(port)))
        names.add(name)
        numbers.add((number, port.get("protocol", "TCP")))
    return errors
