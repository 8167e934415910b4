"""The catalog of accelerators: what `spec.accelerator.type` means. Read once, from the data file beside this module."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from reprlib import repr as shown
from types import MappingProxyType
from typing import Any

import yaml

from manta_operator.api.fields import ACCELERATOR_PATTERN, RESOURCE_PATTERN

NUMBERS = ("bf16", "fp16", "fp8", "int8", "fp4")
"""Types of numbers that accelerators are told to compute with. Before compute capability 8.0 there is fp16, no bf16."""
OTHER = "other"
"""The type of an accelerator that the spec describes itself."""
PRODUCT_LABEL = "nvidia.com/gpu.product"
_NAME_LIMIT = 63
_LARGEST = 1e15


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
    """Operations a second without sparsity, by the data sheet, by the type of the numbers (one of `NUMBERS`)."""
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


def catalog(extra: Mapping[str, Accelerator] | None = None) -> Mapping[str, Accelerator]:
    """Return the known accelerators by type, in the order of the data file; then those that only a user knows.

    Args:
        extra: A user's own (`Extension.accelerators`): they come before those of the same type that Manta ships.
    """
    return _shipped() | dict(extra) if extra else _shipped()


class AcceleratorError(ValueError):
    """An entry cannot be taken; the message says which field, what is wrong with it and what to do."""


@cache
def _shipped() -> dict[str, Accelerator]:
    text = resources.files(__package__).joinpath("accelerators.yaml").read_text("utf-8")
    return {name: from_entry(name, entry) for name, entry in yaml.safe_load(text).items()}


def find(
    name: str,
    resource: str | None = None,
    memory_bytes: int | None = None,
    extra: Mapping[str, Accelerator] | None = None,
) -> Accelerator:
    """Return the accelerator of a spec: one of the catalog, or of type `other` what the spec says of it.

    Args:
        name: `spec.accelerator.type`.
        resource: `spec.accelerator.resource`; only of type `other`.
        memory_bytes: `spec.accelerator.memory`; only of type `other`.
        extra: A user's own accelerators by type (`Extension.accelerators`).

    Raises:
        KeyError: nobody knows it, or it is an `other` without a resource, which the API server refuses.
    """
    if name != OTHER or resource is None:
        return catalog(extra)[name]
    return Accelerator(type=name, resource=resource, memory_bytes=memory_bytes, products=())


def from_entry(name: str, said: Any, base: Accelerator | None = None) -> Accelerator:
    """Return the accelerator `name` of a data file.

    Fields: `resource`; `memoryGiB` (2^30 bytes); `bandwidthGBs` (10^9 bytes a second); `teraflops` (10^12 operations a
    second without sparsity, by type); `capability`; `products`; `perHour`; and `source`, which is for people.

    Args:
        name: What `spec.accelerator.type` says.
        said: The entry: all of the accelerator, or what differs from `base`.
        base: The accelerator of this name that is there already.

    Raises:
        AcceleratorError: A field is unknown or not what it should be.
    """
    if not re.fullmatch(ACCELERATOR_PATTERN, name) or len(name) > _NAME_LIMIT or name == OTHER:
        raise AcceleratorError("not a type: use lower-case letters, digits and -, at most 63, and not the word other")
    if not isinstance(said, Mapping):
        raise AcceleratorError(f"should be a mapping, it is {type(said).__name__}; see docs/catalog.md")
    if unknown := sorted(map(str, set(said) - set(_FIELDS) - _FOR_PEOPLE)):
        raise AcceleratorError(f"{', '.join(unknown)}: not a field of an accelerator; there are {', '.join(_FIELDS)}")
    values: dict[str, Any] = {}
    for key, (attribute, convert) in _FIELDS.items():
        if key in said:
            try:
                values[attribute] = convert(said[key])
            except _Wrong as error:
                raise AcceleratorError(f"{key}: {error}, it is {shown(said[key])}") from error
    found = replace(base or Accelerator(name, None, None, ()), **values)
    if base is None and not found.is_cpu and found.memory_bytes is None:
        raise AcceleratorError("memoryGiB: missing; say how much memory it shows to the engine, in units of 2^30 bytes")
    if base is None and "resource" not in said:
        raise AcceleratorError(
            "resource: missing; name the extended resource of its device plugin: nvidia.com/gpu, ..."
        )
    return found


class _Wrong(ValueError):
    """A value is not what its field asks for; the message says what it should be."""


def _number(value: Any, least: float = 0.0) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not least < value <= _LARGEST:
        raise _Wrong("should be a number greater than 0, and no more than 1e15")
    return float(value)


def _price(value: Any) -> float:
    return 0.0 if value == 0 and not isinstance(value, bool) else _number(value)


def _memory(value: Any) -> int | None:
    return None if value is None else int(_number(value) * 2**30)


def _capability(value: Any) -> int:
    return round(_number(value) * 10)


def _bandwidth(value: Any) -> float:
    return _number(value) * 1e9


def _resource(value: Any) -> str | None:
    if value is not None and not (isinstance(value, str) and re.fullmatch(RESOURCE_PATTERN, value)):
        raise _Wrong("should be an extended resource, for example nvidia.com/gpu")
    return value


def _products(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise _Wrong(f"should be a list of values of the label {PRODUCT_LABEL}")
    return tuple(value)


def _teraflops(value: Any) -> tuple[tuple[str, float], ...]:
    if not isinstance(value, Mapping) or not set(value) <= set(NUMBERS):
        raise _Wrong(f"should map types of numbers to teraflops; types are {', '.join(NUMBERS)}")
    return tuple((name, _number(value[name]) * 1e12) for name in NUMBERS if name in value)


_FIELDS: Mapping[str, tuple[str, Callable[[Any], Any]]] = MappingProxyType(
    {
        "resource": ("resource", _resource),
        "memoryGiB": ("memory_bytes", _memory),
        "bandwidthGBs": ("bandwidth", _bandwidth),
        "teraflops": ("flops", _teraflops),
        "capability": ("capability", _capability),
        "products": ("products", _products),
        "perHour": ("per_hour", _price),
    }
)
"""Fields of an entry: the attribute that each becomes, and how it is read."""
_FOR_PEOPLE = {"source"}
