"""What the status remembers of the last decision, so that a fact that vanishes is not a rollout. Pure.

The shape and the memory of a pod are part of the engine template, whose hash is the revision. Both may follow from the
checkpoint; where that cannot be seen for a while (the operator was restarted elsewhere, a disk is away), the decision
made before stands, as long as the fields of the spec that it was made from stand. Replicas, images and the like are
not among them: scaling decides nothing anew.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import pydantic

from manta_operator.api.models import LLMDeploymentSpec
from manta_operator.api.status import Fit as FitStatus
from manta_operator.api.status import Shape as ShapeStatus
from manta_operator.planning.fit import Fit
from manta_operator.planning.fit_status import recalled
from manta_operator.planning.search import Choice
from manta_operator.planning.shape import Shape

_ENGINE = {
    "dtype",
    "executor",
    "gpu_memory_utilization",
    "kv_cache_dtype",
    "kv_cache_memory",
    "max_model_len",
    "quantization",
    "rope_scaling",
}


def remember(spec: LLMDeploymentSpec, shape: Shape, fit: Fit) -> dict[str, Any]:
    """Return `status.shape`."""
    kept = ShapeStatus(
        tensor=shape.tensor,
        pipeline=shape.pipeline,
        data=shape.data if shape.data > 1 else None,
        expert=shape.expert or None,
        per_pod=shape.per_pod,
        executor=shape.executor,
        memory_per_pod=fit.memory_per_pod,
        spec_hash=_spec_hash(spec),
    )
    return kept.model_dump(mode="json", by_alias=True, exclude_none=True)


def recall(spec: LLMDeploymentSpec, status: Mapping[str, Any]) -> Choice | None:
    """Return the choice that the status tells of; None if there is none, or it was made from another spec."""
    try:
        shape = ShapeStatus.model_validate(status["shape"])
        fit = FitStatus.model_validate(status["fit"])
    except (KeyError, pydantic.ValidationError):
        return None
    if shape.spec_hash != _spec_hash(spec):
        return None
    return Choice(
        Shape(shape.tensor, shape.pipeline, shape.per_pod, shape.executor, shape.data or 1, shape.expert or False),
        recalled(fit, shape.memory_per_pod),
        measured=fit.actual is not None,
    )


def same_spec(spec: LLMDeploymentSpec, status: Mapping[str, Any]) -> bool:
    """Whether the status tells of a choice that was made from the same fields of the spec."""
    return bool((status.get("shape") or {}).get("specHash") == _spec_hash(spec))


def _spec_hash(spec: LLMDeploymentSpec) -> str:
    document = [
        spec.model.model_dump(include={"uri", "revision"}, exclude_defaults=True),
        spec.engine.model_dump(include=_ENGINE, exclude_defaults=True),
        spec.parallelism.model_dump(exclude_defaults=True),
        spec.accelerator.model_dump(exclude_defaults=True),
    ]
    if spec.fit.concurrency != 1:  # what was written before there was this field stays what it was
        document.append({"concurrency": spec.fit.concurrency})
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()[:16]
