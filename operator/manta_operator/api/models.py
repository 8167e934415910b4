"""The frozen models of an LLMDeployment: the source of truth for the CRD, the planner and the command line.

First step of the flow: `parse` turns an admitted body (the API server has validated it and filled in the
defaults) into values that everything after it reads. Attributes are snake_case, YAML is camelCase.
Field docstrings become the descriptions that `kubectl explain` shows, so they speak to users.
"""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from manta_operator.api.choices import RouterPolicy, TaintEffect, TolerationOperator
from manta_operator.api.engine import EngineSpec, EnvVar, ModelCache, ModelSpec, Resources
from manta_operator.api.fields import ACCELERATOR_PATTERN, Frozen, ObjectName, ShortText
from manta_operator.api.names import RUNTIME_IMAGE

__all__ = [
    "AcceleratorSpec",
    "EngineSpec",
    "EnvVar",
    "LLMDeployment",
    "LLMDeploymentSpec",
    "ModelCache",
    "ModelSpec",
    "ParallelismSpec",
    "Resources",
    "RolloutSpec",
    "RouterSpec",
    "SchedulingSpec",
    "Toleration",
    "parse",
]

LabelText = Annotated[str, Field(max_length=317)]


class ParallelismSpec(Frozen):
    """How one replica is split over ranks, one rank an accelerator."""

    tensor: Annotated[int, Field(ge=1, le=1024)] | None = None
    """Tensor parallel: every layer is split over this many ranks. It must divide the model's attention heads,
    and divide its key-value heads or be a multiple of them. Omitted: where the operator can read the checkpoint,
    the smallest of 1, 2, 4 and 8 that fits; elsewhere, and on cpu, accelerator.perPod, or 1."""
    pipeline: Annotated[int, Field(ge=1, le=1024)] | None = None
    """Pipeline parallel: the layers are split into this many stages, one after the other.
    Omitted: 1."""


class AcceleratorSpec(Frozen):
    """What the engines compute on."""

    type: Annotated[str, Field(pattern=ACCELERATOR_PATTERN, max_length=63)]
    """Kind of accelerator, for example nvidia-h100-80gb, or cpu for none."""
    per_pod: Annotated[int, Field(ge=1, le=64)] | None = None
    """Accelerators of each engine pod, at most what one node has.
    A replica has tensor x pipeline / perPod pods. Omitted: all that a replica needs if these are 8
    or fewer, otherwise tensor, at most 8."""


class RouterSpec(Frozen):
    """The load balancer in front of the replicas: pods of Envoy and an endpoint picker, and a Service."""

    replicas: Annotated[int, Field(ge=1, le=100)] = 2
    """Router pods. Two or more survive the loss of a node."""
    port: Annotated[int, Field(ge=1, le=65535)] = 8000
    """Port of the Service that clients talk to. The Service has the name of the LLMDeployment."""
    policy: RouterPolicy = "least-load"
    """How a replica is chosen for a request. least-load: the one with the fewest requests in flight."""
    image: Annotated[str, Field(min_length=1, max_length=512)] = RUNTIME_IMAGE
    """Container image of the router pods: Envoy and manta-runtime."""
    resources: Resources = Field(default_factory=Resources)
    """CPU and memory requested for the Envoy of every router pod; the endpoint picker beside it asks for
    100m and 128Mi more."""


class RolloutSpec(Frozen):
    """How replicas are replaced."""

    drain_seconds: Annotated[int, Field(ge=0, le=86400)] = 60
    """Seconds that a replica on its way out may use to finish the requests it is answering."""


class Toleration(Frozen):
    """A taint that engine pods tolerate, as in a Kubernetes pod."""

    key: LabelText = ""
    """Key of the taint. Empty, with operator Exists: every taint."""
    operator: TolerationOperator = "Equal"
    """Equal: key and value match; Exists: the key matches, whatever the value."""
    value: Annotated[str, Field(max_length=63)] = ""
    """Value of the taint; operator Equal only."""
    effect: TaintEffect | None = None
    """Effect of the taint. Omitted: all effects."""
    toleration_seconds: Annotated[int, Field(ge=0, le=31_536_000)] | None = None
    """Seconds that a NoExecute taint is tolerated. Omitted: for ever."""


class SchedulingSpec(Frozen):
    """Where engine pods may run."""

    priority_class_name: ObjectName | None = None
    """PriorityClass of the engine pods. Omitted: the cluster's default."""
    node_selector: Annotated[Mapping[str, Annotated[str, Field(max_length=63)]], Field(max_length=32)] = Field(
        default_factory=dict
    )
    """Labels that a node must carry. Omitted: nodes whose nvidia.com/gpu.product is a product of the accelerator type.
    Given: these labels alone, so they have to select nodes with the right accelerator."""
    tolerations: Annotated[tuple[Toleration, ...], Field(max_length=32)] = ()
    """Taints that are tolerated."""


class LLMDeploymentSpec(Frozen):
    """What the user wants. The operator never writes it."""

    model: ModelSpec
    """Which model is served."""
    engine: EngineSpec = Field(default_factory=EngineSpec)
    """How vLLM runs the model."""
    parallelism: ParallelismSpec = Field(default_factory=ParallelismSpec)
    """How one replica is split over accelerators."""
    accelerator: AcceleratorSpec
    """What the engines compute on."""
    replicas: Annotated[int, Field(ge=0, le=1000)] = 1
    """Copies of the model. 0 keeps the router and no engine."""
    router: RouterSpec = Field(default_factory=RouterSpec)
    """The load balancer in front of the replicas."""
    rollout: RolloutSpec = Field(default_factory=RolloutSpec)
    """How replicas are replaced."""
    scheduling: SchedulingSpec = Field(default_factory=SchedulingSpec)
    """Where engine pods may run."""
    pod_template: Annotated[
        Mapping[str, Any], Field(json_schema_extra={"x-kubernetes-preserve-unknown-fields": True})
    ] = Field(default_factory=dict)
    """Anything else of the engine pods: a partial pod template (metadata, spec), merged over the one that
    Manta builds. Lists of containers, volumes and environment variables are merged by name."""


class LLMDeployment(Frozen):
    """One admitted LLMDeployment: its identity and its spec."""

    name: ShortText
    """metadata.name."""
    namespace: ShortText
    """metadata.namespace."""
    uid: str
    """metadata.uid; empty for a manifest that no API server has seen."""
    generation: int
    """metadata.generation; 0 for a manifest that no API server has seen."""
    spec: LLMDeploymentSpec
    """What the user wants."""


def parse(body: Mapping[str, Any]) -> LLMDeployment:
    """Return the values of an admitted body.

    Args:
        body: An LLMDeployment as the API server returns it, or as `load.load` does: valid and defaulted.

    Raises:
        pydantic.ValidationError: The body is not admitted (the operator reports it as `InvalidSpec`).
    """
    metadata = body["metadata"]
    return LLMDeployment(
        name=metadata["name"],
        namespace=metadata.get("namespace", "default"),
        uid=metadata.get("uid", ""),
        generation=metadata.get("generation", 0),
        spec=LLMDeploymentSpec.model_validate(body["spec"]),
    )
