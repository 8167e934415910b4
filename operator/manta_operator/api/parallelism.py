"""How one replica is cut into ranks, and what these compute on.

Part of the frozen models; `models.py` puts them together and re-exports them.
"""

from typing import Annotated, Literal

from pydantic import Field

from manta_operator.api.fields import ACCELERATOR_PATTERN, RESOURCE_PATTERN, Frozen, MemoryQuantity


class ParallelismSpec(Frozen):
    """How one replica is split over ranks, one rank an accelerator."""

    tensor: Annotated[int, Field(ge=1, le=1024)] | None = None
    """Tensor parallel: every layer is split over this many ranks. It must divide the model's attention heads,
    and divide its key-value heads or be a multiple of them. Omitted: where the model is known, the smallest
    that fits in a node; elsewhere, and on cpu, accelerator.perPod / data, or 1."""
    pipeline: Annotated[int, Field(ge=1, le=1024)] | None = None
    """Pipeline parallel: the layers are split into this many stages, one after the other.
    Omitted: 1; without tensor, as many nodes as it takes."""
    data: Annotated[int, Field(ge=1, le=1024)] | None = None
    """Data parallel: this many engines inside one replica, each of tensor x pipeline ranks with a KV cache of its
    own; they share the model's experts. Without experts spec.replicas does the same better. Omitted: 1."""
    expert: bool = False
    """Expert parallel: each of the data x tensor ranks holds whole experts instead of a slice of every expert.
    Only for mixture-of-experts models, and not on cpu."""


class AcceleratorSpec(Frozen):
    """What the engines compute on."""

    type: Annotated[str, Field(pattern=ACCELERATOR_PATTERN, max_length=63)]
    """Kind of accelerator, for example nvidia-h100-80gb, cpu for none, or other for one that Manta does not know,
    which resource then names."""
    per_pod: Annotated[int, Field(ge=1, le=64)] | None = None
    """Accelerators of each engine pod, at most what one node has.
    A replica has data x tensor x pipeline / perPod pods. Omitted: all that a replica needs if these are 8
    or fewer; otherwise as many whole engines as 8 hold, or tensor, at most 8, of one that is larger."""
    resource: Annotated[str, Field(pattern=RESOURCE_PATTERN, max_length=253)] | None = None
    """Only with type other: the extended resource that its device plugin offers, for example amd.com/gpu or
    habana.ai/gaudi. The runtime's image must hold a vLLM that computes on it."""
    memory: MemoryQuantity | None = None
    """Only with type other: memory of one accelerator, as the engine sees it. Omitted: whether the model fits is
    not judged."""


class FitSpec(Frozen):
    """What is made of whether a replica fits."""

    policy: Literal["enforce", "warn"] = "enforce"
    """enforce: what cannot fit is not started. warn: it is started all the same, and status tells."""
    concurrency: Annotated[int, Field(ge=1, le=65536)] = 1
    """Requests of maxModelLen tokens that the KV cache of a replica has to hold at once."""
