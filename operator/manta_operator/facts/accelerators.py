"""The catalog of accelerators: what `spec.accelerator.type` means. Read once, from the data file beside this module."""

from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import yaml

PRODUCT_LABEL = "nvidia.com/gpu.product"


@dataclass(frozen=True)
class Accelerator:
    """One kind of device.

    `memory_bytes` is what the device shows to the engine; None for `cpu` (the node's memory). `products` are the names
    under which nodes offer it (the label `PRODUCT_LABEL`); none: any node with the resource will do.
    """

    type: str
    resource: str | None
    memory_bytes: int | None
    products: tuple[str, ...]

    @property
    def is_cpu(self) -> bool:
        """Whether the engine runs without a device."""
        return self.resource is None


@cache
def catalog() -> dict[str, Accelerator]:
    """Return the known accelerators by type, in the order of the data file."""
    text = resources.files(__package__).joinpath("accelerators.yaml").read_text("utf-8")
    return {name: _accelerator(name, entry) for name, entry in yaml.safe_load(text).items()}


def _accelerator(name: str, entry: dict[str, Any]) -> Accelerator:
    memory = entry.get("memoryGiB")
    resource = entry.get("resource")
    return Accelerator(
        type=name,
        resource=str(resource) if resource else None,
        memory_bytes=int(float(memory) * 2**30) if memory else None,
        products=tuple(entry.get("products") or ()),
    )
