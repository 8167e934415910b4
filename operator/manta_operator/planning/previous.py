"""What the status remembers of the last decision, so that what is known later is not a rollout. Pure.

The shape, the memory and the node affinity of a pod are part of the engine template, whose hash is the revision. They
follow from the checkpoint and from catalogs, which appear, change and vanish: the operator was restarted elsewhere, a
disk is away, an entry was mistyped. So what pods were made of stands, whatever is known later, as long as the fields of
the spec stand that it was decided from. Two hashes tell:

    specHash    what the shape follows from: where it is new, everything is decided anew
    fitHash     all that the fit depends on: where it is new, the shape is kept if it may still fit

Replicas, images and the like are in neither: scaling and a newer image decide nothing anew.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any, TypeVar

import pydantic

from manta_operator.api.models import LLMDeploymentSpec
from manta_operator.api.status import Devices, FitNumbers
from manta_operator.api.status import Fit as FitStatus
from manta_operator.api.status import Shape as ShapeStatus
from manta_operator.facts.accelerators import Accelerator, catalog
from manta_operator.planning.fit import Fit
from manta_operator.planning.fit_status import recalled
from manta_operator.planning.observed import Observed
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
_NOT_OF_THE_FIT = {
    "env",
    "hang_seconds",
    "image",
    "reasoning_parser",
    "startup_seconds",
    "structured_outputs",
    "tool_call_parser",
}
"""A replica that serves is the best witness for another image of the same engine; of env only vLLM's own counts."""
_INNER: Mapping[str, type[pydantic.BaseModel]] = {"predicted": FitNumbers, "actual": FitNumbers, "devices": Devices}
_Model = TypeVar("_Model", bound=pydantic.BaseModel)


def remember(
    spec: LLMDeploymentSpec, shape: Shape, fit: Fit, accelerator: Accelerator | None = None, *, started: bool = False
) -> dict[str, Any]:
    """Return `status.shape`.

    Args:
        spec: What it was decided from.
        shape: How a replica is cut.
        fit: Its verdict.
        accelerator: What its pods ask for.
        started: Pods were made of it.
    """
    kept = ShapeStatus(
        tensor=shape.tensor,
        pipeline=shape.pipeline,
        data=shape.data if shape.data > 1 else None,
        expert=shape.expert or None,
        per_pod=shape.per_pod,
        executor=shape.executor,
        memory_per_pod=fit.memory_per_pod,
        spec_hash=_spec_hash(spec),
        fit_hash=_fit_hash(spec),
        devices=_devices(accelerator),
        started=started or None,
    )
    return kept.model_dump(mode="json", by_alias=True, exclude_none=True)


def recall(spec: LLMDeploymentSpec, status: Mapping[str, Any]) -> Choice | None:
    """Return the choice that the status tells of; None if there is none, or it was made from another spec.

    The status may be of another version of Manta: fields that this one does not know are none of its business, and an
    older one knows neither fitHash nor devices. Its pods were made by the catalog that Manta ships.
    """
    shape, fit = _read(ShapeStatus, status.get("shape")), _read(FitStatus, status.get("fit"))
    if shape is None or shape.spec_hash != _spec_hash(spec):
        return None
    unchanged = shape.fit_hash in (None, _fit_hash(spec))
    return Choice(
        Shape(shape.tensor, shape.pipeline, shape.per_pod, shape.executor, shape.data or 1, shape.expert or False),
        recalled(fit or FitStatus(fits="Unknown"), shape.memory_per_pod),
        measured=unchanged and fit is not None and fit.actual is not None,
        accelerator=_accelerator(spec, shape),
        revision=str(status.get("revision") or ""),
        started=unchanged and bool(shape.started),
        unchanged=unchanged,
    )


def stands(previous: Choice | None, observed: Observed) -> bool:
    """Whether pods were made of a choice, from a spec that the fit has no reason to judge anew."""
    if previous is None or not previous.unchanged:
        return False
    there = any(group.revision == previous.revision for group in observed.groups)
    return there or previous.started or previous.measured


def accelerators(
    spec: LLMDeploymentSpec, previous: Choice | None, extra: Mapping[str, Accelerator] | None
) -> Mapping[str, Accelerator]:
    """Return a user's own accelerators, with the one of the spec as it was remembered where nobody knows it now."""
    own, name = extra or {}, spec.accelerator.type
    if previous is None or previous.accelerator is None or name in catalog(own) or spec.accelerator.resource:
        return own
    return {**own, name: previous.accelerator}


def same_spec(spec: LLMDeploymentSpec, status: Mapping[str, Any]) -> bool:
    """Whether the status tells of a choice that was made from the same fields of the spec."""
    kept = status.get("shape") or {}
    return bool(kept.get("specHash") == _spec_hash(spec) and kept.get("fitHash") in (None, _fit_hash(spec)))


def _read(model: type[_Model], said: Any) -> _Model | None:
    """Read what this version knows of a part of the status; None where that makes no sense."""
    try:
        return model.model_validate(_known(model, said))
    except pydantic.ValidationError:
        return None


def _known(model: type[pydantic.BaseModel], said: Any) -> Any:
    if not isinstance(said, Mapping):
        return said
    aliases = {field.alias or name for name, field in model.model_fields.items()}
    return {name: _known(_INNER.get(name, model), value) for name, value in said.items() if name in aliases}


def _devices(accelerator: Accelerator | None) -> Devices | None:
    """Return what pods ask for, as far as a status can hold it."""
    if accelerator is None:
        return None
    try:
        return Devices(resource=accelerator.resource, products=accelerator.products)
    except pydantic.ValidationError:
        return None


def _accelerator(spec: LLMDeploymentSpec, shape: ShapeStatus) -> Accelerator | None:
    if shape.devices is not None:
        return Accelerator(spec.accelerator.type, shape.devices.resource, None, shape.devices.products)
    return catalog().get(spec.accelerator.type) if shape.fit_hash is None else None


def _spec_hash(spec: LLMDeploymentSpec) -> str:
    return _hash(_decided_from(spec))


def _fit_hash(spec: LLMDeploymentSpec) -> str:
    of_vllm = {var.name: var.value for var in spec.engine.env if var.name.startswith("VLLM_")}
    engine = spec.engine.model_dump(mode="json", exclude=_NOT_OF_THE_FIT, exclude_defaults=True)
    return _hash([*_decided_from(spec), engine, of_vllm, bool(spec.model.adapters)])


def _decided_from(spec: LLMDeploymentSpec) -> list[Any]:
    document: list[Any] = [
        spec.model.model_dump(include={"uri", "revision"}, exclude_defaults=True),
        spec.engine.model_dump(include=_ENGINE, exclude_defaults=True),
        spec.parallelism.model_dump(exclude_defaults=True),
        spec.accelerator.model_dump(exclude_defaults=True),
    ]
    if spec.fit.concurrency != 1:  # what was written before there was this field stays what it was
        document.append({"concurrency": spec.fit.concurrency})
    return document


def _hash(document: list[Any]) -> str:
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()[:16]
