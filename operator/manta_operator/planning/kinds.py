"""Which kinds of accelerators a cluster has, by what its nodes say of themselves. Pure.

    nvidia.com/gpu.product      the kinds of the catalog have these names (GPU feature discovery)
    amd.com/gpu.product-name    the same of AMD's, as far as the catalog's type is in it
    a resource that neither explains, with the memory of nvidia.com/gpu.memory or amd.com/gpu.vram if that is said

Nodes that are shared (MIG, time slices) offer another product, which is no kind of the catalog.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from manta_operator.facts.accelerators import OTHER, PRODUCT_LABEL, Accelerator, catalog

_AMD_PRODUCT, _AMD_MEMORY = "amd.com/gpu.product-name", "amd.com/gpu.vram"
_MEMORY = "nvidia.com/gpu.memory"
_RESOURCES = ("nvidia.com/gpu", "amd.com/gpu")
"""Of other accelerators the nodes do not say the kind; `spec.accelerator` does."""


@dataclass(frozen=True)
class Kind:
    """A kind of accelerator, and how many there are: `nodes` with `per_node` each; None: of the catalog."""

    accelerator: Accelerator
    per_node: int | None = None
    nodes: int | None = None

    @property
    def name(self) -> str:
        """What people call it."""
        return (self.accelerator.resource or OTHER) if self.accelerator.type == OTHER else self.accelerator.type


def of_catalog(extra: Mapping[str, Accelerator] | None = None) -> tuple[Kind, ...]:
    """Return every kind that there is."""
    return tuple(Kind(accelerator) for accelerator in catalog(extra).values() if not accelerator.is_cpu)


def of_nodes(nodes: Iterable[Mapping[str, Any]], extra: Mapping[str, Accelerator] | None = None) -> tuple[Kind, ...]:
    """Return the kinds of a cluster, those with most per node first; unschedulable nodes count, they come back.

    Args:
        nodes: Nodes as the API server returns them: labels and allocatable are read.
        extra: A user's own accelerators.
    """
    known = list(catalog(extra).values())
    counted: dict[tuple[Accelerator, int], int] = {}
    for node in nodes:
        labels = node["metadata"].get("labels") or {}
        for resource, amount in ((node.get("status") or {}).get("allocatable") or {}).items():
            if resource in {*_RESOURCES, *(kind.resource for kind in known)} and str(amount).isdigit() and int(amount):
                key = (_accelerator(resource, labels, known), int(amount))
                counted[key] = counted.get(key, 0) + 1
    kinds = [Kind(accelerator, per_node, count) for (accelerator, per_node), count in counted.items()]
    return tuple(sorted(kinds, key=lambda kind: (-(kind.per_node or 0), kind.name)))


def _accelerator(resource: str, labels: Mapping[str, str], known: Iterable[Accelerator]) -> Accelerator:
    product, amd = labels.get(PRODUCT_LABEL), (labels.get(_AMD_PRODUCT) or "").lower()
    for kind in known:
        if kind.resource != resource:
            continue
        if (product and product in kind.products) or (amd and kind.type.removeprefix("amd-") in amd):
            return kind
    return Accelerator(OTHER, resource, _memory(labels), ())


def _memory(labels: Mapping[str, str]) -> int | None:
    """Return the bytes that the labels tell of: NVIDIA's in MiB, AMD's in words such as 192G."""
    if (said := labels.get(_MEMORY, "")).isdigit():
        return int(said) * 2**20
    amount = re.fullmatch(r"(\d+)(G|M)i?B?", labels.get(_AMD_MEMORY, ""))
    return int(amount[1]) * (2**30 if amount[2] == "G" else 2**20) if amount else None
