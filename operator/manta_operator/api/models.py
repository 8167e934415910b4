"""The frozen models of an LLMDeployment: the source of truth for the CRD, the planner and the command line.

First step of the flow: `parse` turns an admitted body (the API server has validated it and filled in the
defaults) into values that everything after it reads. Attributes are snake_case, YAML is camelCase.
Field docstrings become the descriptions that `kubectl explain` shows, so they speak to users.
"""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from manta_operator.api.adapters import AdapterSpec, LoraSpec
from manta_operator.api.autoscaling import AutoscalingSpec, ScaleBehaviourSpec, ScaleTargetSpec, ScaleToZeroSpec
from manta_operator.api.engine import EngineSpec, EnvVar, Resources
from manta_operator.api.fields import AutoOrCount, Frozen, ShortText
from manta_operator.api.integrations import GatewaySpec, MonitoringSpec, ParentRef
from manta_operator.api.model import ModelCache, ModelSpec
from manta_operator.api.parallelism import AcceleratorSpec, FitSpec, ParallelismSpec
from manta_operator.api.router import RouterSpec
from manta_operator.api.router_parts import (
    AuthSpec,
    CacheSpec,
    HoldSpec,
    SessionSpec,
    TenantSpec,
    TimeoutsSpec,
    TracingSpec,
)
from manta_operator.api.scheduling import RouterSchedulingSpec, SchedulingSpec, Toleration

__all__ = [
    "AcceleratorSpec",
    "AdapterSpec",
    "AuthSpec",
    "AutoscalingSpec",
    "CacheSpec",
    "EngineSpec",
    "EnvVar",
    "FitSpec",
    "GatewaySpec",
    "HoldSpec",
    "LLMDeployment",
    "LLMDeploymentSpec",
    "LoraSpec",
    "ModelCache",
    "ModelSpec",
    "MonitoringSpec",
    "ParallelismSpec",
    "ParentRef",
    "Resources",
    "RolloutSpec",
    "RouterSchedulingSpec",
    "RouterSpec",
    "ScaleBehaviourSpec",
    "ScaleTargetSpec",
    "ScaleToZeroSpec",
    "SchedulingSpec",
    "SessionSpec",
    "TenantSpec",
    "TimeoutsSpec",
    "Toleration",
    "TracingSpec",
    "parse",
]


class RolloutSpec(Frozen):
    """How replicas are replaced when something changes that makes a new engine pod."""

    surge: AutoOrCount = "auto"
    """Replicas that a rollout may run beyond spec.replicas, which takes accelerators that are free.
    auto: 1 where there is room for it, otherwise 0."""
    unavailable: AutoOrCount = "auto"
    """Replicas that a rollout may take out of service before their successors serve.
    auto: 0 where it surges; otherwise 1, but 0 of a single replica: then it waits and says what it waits for."""
    progress_deadline_seconds: Annotated[int, Field(ge=31, le=172_800)] | None = None
    """Seconds from the creation of a new replica until it must serve, the wait for a node, the pull of the image
    and the fetch of the weights included. One that does not pauses the rollout; the former spec, applied again,
    rolls back. More than spec.engine.startupSeconds. Omitted: that + 600."""
    drain_seconds: Annotated[int, Field(ge=0, le=86400)] = 60
    """Seconds that a replica on its way out may use to finish the requests it is answering."""


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
    fit: FitSpec = Field(default_factory=FitSpec)
    """What has to fit, and what becomes of what does not."""
    replicas: Annotated[int, Field(ge=0, le=1000)] = 1
    """Copies of the model. 0 keeps the router and no engine. With spec.autoscaling only where it begins."""
    autoscaling: AutoscalingSpec | None = None
    """Replicas that follow the demand. Omitted: spec.replicas rules, and an HPA or KEDA may own it by the scale
    subresource."""
    router: RouterSpec = Field(default_factory=RouterSpec)
    """The load balancer in front of the replicas."""
    rollout: RolloutSpec = Field(default_factory=RolloutSpec)
    """How replicas are replaced."""
    scheduling: SchedulingSpec = Field(default_factory=SchedulingSpec)
    """Where engine pods may run."""
    monitoring: MonitoringSpec = Field(default_factory=MonitoringSpec)
    """What collects the metrics of the engines and the routers."""
    gateway: GatewaySpec = Field(default_factory=GatewaySpec)
    """Gateways of the Gateway API that pass requests from outside on to the Service. Empty: none."""
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
