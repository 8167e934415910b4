"""What the server says first about a new object: the start of its status, names it fills in. Pure but for the clock."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from manta_operator.box.apiserver import crds
from manta_operator.box.apiserver.resources import Resource
from manta_operator.placement import quantities

Object = dict[str, Any]
_COUNTED = ("cpu", "memory")
_STATUS: dict[str, Object] = {
    "Deployment": {},
    "ReplicaSet": {"replicas": 0},
    "StatefulSet": {"replicas": 0, "availableReplicas": 0},
    "PodDisruptionBudget": {"disruptionsAllowed": 0, "currentHealthy": 0, "desiredHealthy": 0, "expectedPods": 0},
}


def now_text() -> str:
    """Return the time as Kubernetes writes it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def begin(resource: Resource, obj: Object) -> None:
    """Fill in what the server says first about a new, defaulted object."""
    if resource.kind == "Pod":
        obj["status"] = {"phase": "Pending", "qosClass": qos_class(obj.get("spec") or {})}
        if isinstance(obj.get("spec"), dict):
            account = obj["spec"].setdefault("serviceAccountName", "default")
            obj["spec"].setdefault("serviceAccount", account)
    elif resource.kind == "Namespace":
        obj["spec"] = {"finalizers": ["kubernetes"]}
        obj["status"] = {"phase": "Active"}
        obj["metadata"].setdefault("labels", {})["kubernetes.io/metadata.name"] = obj["metadata"]["name"]
    elif resource.kind == "Service":
        obj["status"] = {"loadBalancer": {}}
    elif resource.kind in _STATUS:
        obj["status"] = dict(_STATUS[resource.kind])
    elif resource.kind == crds.KIND and isinstance(obj.get("spec"), dict):
        crds.with_names(obj)
        if {"names", "versions", "group"} <= set(obj["spec"]):
            obj["status"] = crds.established(obj, now_text())


def qos_class(spec: Mapping[str, Any]) -> str:
    """Return how well a pod's processor time and memory are reserved: Guaranteed, Burstable or BestEffort."""
    containers = [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]
    amounts = [_amounts(container) for container in containers]
    if not any(requests or limits for requests, limits in amounts):
        return "BestEffort"
    if all(len(limits) == len(_COUNTED) and requests == limits for requests, limits in amounts):
        return "Guaranteed"
    return "Burstable"


def _amounts(container: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    found = []
    for sort in ("requests", "limits"):
        given = (container.get("resources") or {}).get(sort) or {}
        numbers = {}
        for name in _COUNTED:
            try:
                numbers[name] = quantities.parse(given.get(name, 0))
            except ValueError:  # validation refuses the pod a moment later
                numbers[name] = quantities.parse(0)
        found.append({name: number for name, number in numbers.items() if number})
    return found[0], found[1]
