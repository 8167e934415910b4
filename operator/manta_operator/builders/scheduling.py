"""Where pods may run: what the spec says about nodes, taints and priority, as fields of a pod. Pure."""

from typing import Any

from manta_operator.api.models import SchedulingSpec

Object = dict[str, Any]


def scheduling(spec: SchedulingSpec) -> Object:
    """Return the fields of a pod's spec; those that nothing was said about are left out."""
    fields: Object = {
        "nodeSelector": dict(spec.node_selector),
        "tolerations": [toleration.model_dump(by_alias=True, exclude_none=True) for toleration in spec.tolerations],
        "priorityClassName": spec.priority_class_name,
    }
    return {name: value for name, value in fields.items() if value}
