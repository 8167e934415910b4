"""The catalog of accelerators: what `spec.accelerator.type` means. Read once, from the data file beside this module."""

from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import yaml

OTHER = "other"
"""The type of an accelerator that the spec describes itself."""
PRODUCT_LABEL = "nvidia.com/gpu.product"


@dataclass(frozen=True)
class Accelerator:
    """One kind of device.

    `memory_bytes` is what the device shows to the engine; None for `cpu` (the node's memory) and where nobody said it.
    `products` are the names under which nodes offer it (the label `PRODUCT_LABEL`); none: any node with the resource
    will do.
    """

    type: str
    resource: str | None
    memory_bytes: int | None
    products: tuple[str, ...]
    capability: int | None = None
    """NVIDIA's compute capability x 10, for example 90 for 9.0; None where there is none, or nobody said it."""
    bandwidth: float | None = None
    """Bytes a second that its memory gives, by the data sheet."""
    flops: tuple[tuple[str, float], ...] = ()
    """Operations a second without sparsity, by the data sheet and by the type of the numbers: bf16, fp8, int8, fp4."""
    per_hour: float | None = None
    """What one costs for an hour, in whatever currency the prices were given; None: nobody said it."""

    @property
    def is_cpu(self) -> bool:
        """Whether the engine runs without a device."""
        return self.resource is None

    @property
    def is_cuda(self) -> bool:
        """Whether the engine runs on NVIDIA's stack, as far as the resource says it."""
        return self.resource == "nvidia.com/gpu"

    @property
    def is_rocm(self) -> bool:
        """Whether the engine runs on AMD's stack, as far as the resource says it."""
        return self.resource == "amd.com/gpu"


@cache
def catalog() -> dict[str, Accelerator]:
    """Return the known accelerators by type, in the order of the data file."""
    text = resources.files(__package__).joinpath("accelerators.yaml").read_text("utf-8")
    return {name: _accelerator(name, entry) for name, entry in yaml.safe_load(text).items()}


def find(name: str, resource: str | None = None, memory_bytes: int | None = None) -> Accelerator:
    """Return the accelerator of a spec: one of the catalog, or of type `other` what the spec says of it.

    Raises:
        KeyError: nobody knows it, or it is an `other` without a resource, which the API server refuses.
    """
    if name != OTHER or resource is None:
        return catalog()[name]
    return Accelerator(type=name, resource=resource, memory_bytes=memory_bytes, products=())


def _accelerator(name: str, entry: dict[str, Any]) -> Accelerator:
    memory = entry.get("memoryGiB")
    resource, capability = entry.get("resource"), entry.get("capability")
    return Accelerator(
        type=name,
        resource=str(resource) if resource else None,
        memory_bytes=int(float(memory) * 2**30) if memory else None,
        products=tuple(entry.get("products") or ()),
        capability=round(float(capability) * 10) if capability else None,
    )
