"""Where pods may run: node labels, tolerated taints and the priority class, of the engines and of the routers.

Part of the frozen models; `models.py` puts them together and re-exports them.
"""

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field

from manta_operator.api.choices import TaintEffect, TolerationOperator
from manta_operator.api.fields import Frozen, ObjectName

LabelText = Annotated[str, Field(max_length=317)]
NodeLabels = Annotated[Mapping[str, Annotated[str, Field(max_length=63)]], Field(max_length=32)]


class Toleration(Frozen):
    """A taint that pods tolerate, as in a Kubernetes pod."""

    key: LabelText | None = None
    """Key of the taint. Omitted, with operator Exists: every taint."""
    operator: TolerationOperator | None = None
    """Equal: key and value match; Exists: the key matches, whatever the value. Omitted: Equal."""
    value: Annotated[str, Field(max_length=63)] | None = None
    """Value of the taint; operator Equal only. Omitted: a taint without a value."""
    effect: TaintEffect | None = None
    """Effect of the taint. Omitted: all effects."""
    toleration_seconds: Annotated[int, Field(ge=0, le=31_536_000)] | None = None
    """Seconds that a NoExecute taint is tolerated. Omitted: for ever."""


class SchedulingSpec(Frozen):
    """Where engine pods may run."""

    priority_class_name: ObjectName | None = None
    """PriorityClass of the pods. Omitted: the cluster's default."""
    node_selector: NodeLabels = Field(default_factory=dict)
    """Labels that a node must carry. Omitted: nodes whose nvidia.com/gpu.product is a product of the accelerator type.
    Given: these labels alone, so they have to select nodes with the right accelerator."""
    tolerations: Annotated[tuple[Toleration, ...], Field(max_length=32)] = ()
    """Taints that are tolerated."""


class RouterSchedulingSpec(SchedulingSpec):
    """Where router pods may run: they need no accelerator."""

    node_selector: NodeLabels = Field(default_factory=dict)
    """Labels that a node must carry. Omitted: every node."""
