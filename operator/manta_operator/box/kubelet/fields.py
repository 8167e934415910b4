"""Downward API: values of a pod's own fields and resources. Pure."""

import re
from collections.abc import Mapping
from decimal import ROUND_CEILING, Decimal
from typing import Any

from manta_operator.box.kubelet.config import StartError

_SUBSCRIPT = re.compile(r"metadata\.(labels|annotations)\['([^']+)'\]")
_PLAIN = {
    "metadata.name": ("metadata", "name"),
    "metadata.namespace": ("metadata", "namespace"),
    "metadata.uid": ("metadata", "uid"),
    "spec.nodeName": ("spec", "nodeName"),
    "spec.serviceAccountName": ("spec", "serviceAccountName"),
    "status.podIP": ("status", "podIP"),
    "status.podIPs": ("status", "podIP"),
    "status.hostIP": ("status", "hostIP"),
    "status.hostIPs": ("status", "hostIP"),
}
_SUFFIXES = {
    "m": Decimal("0.001"),
    "": Decimal(1),
    **{letter: Decimal(1000) ** power for power, letter in enumerate("kMGTPE", start=1)},
    **{f"{letter}i": Decimal(1024) ** power for power, letter in enumerate("KMGTPE", start=1)},
}
_QUANTITY = re.compile(r"([+-]?[0-9.]+(?:[eE][+-]?[0-9]+)?)([KMGTPE]i|[mkMGTPE]|)")


def field_value(pod: Mapping[str, Any], path: str) -> str:
    """Value of `fieldRef.fieldPath`; StartError for a field the downward API does not have."""
    if match := _SUBSCRIPT.fullmatch(path):
        return str((pod["metadata"].get(match[1]) or {}).get(match[2], ""))
    if path in ("metadata.labels", "metadata.annotations"):
        values = pod["metadata"].get(path.removeprefix("metadata.")) or {}
        return "".join(f'{key}="{value}"\n' for key, value in sorted(values.items()))
    if path not in _PLAIN:
        known = ", ".join([*_PLAIN, "metadata.labels['…']", "metadata.annotations['…']"])
        raise StartError("CreateContainerConfigError", f"fieldRef {path!r} is not supported; there are: {known}")
    section, name = _PLAIN[path]
    return str((pod.get(section) or {}).get(name, ""))


def resource_value(container: Mapping[str, Any], ref: Mapping[str, Any]) -> str:
    """Value of `resourceFieldRef`, in units of its divisor, rounded up; a limit that is not set reads as 0."""
    kind, _, name = str(ref["resource"]).partition(".")
    resources = (container.get("resources") or {}).get(kind) or {}
    divisor = quantity(str(ref.get("divisor") or "1")) or Decimal(1)
    return str((quantity(str(resources.get(name, "0"))) / divisor).to_integral_value(ROUND_CEILING))


def quantity(text: str) -> Decimal:
    """A Kubernetes quantity as a number; StartError if it is none."""
    match = _QUANTITY.fullmatch(text)
    if not match:
        raise StartError("CreateContainerConfigError", f"{text!r} is not a quantity such as 500m or 2Gi")
    return Decimal(match[1]) * _SUFFIXES[match[2]]
