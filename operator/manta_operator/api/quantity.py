"""Kubernetes quantities as numbers: `500m` of CPU, `64Gi` of memory.

A pure function of 20 lines, because this layer may not import the Kubernetes client, which has the same one.
"""

import re
from decimal import Decimal
from types import MappingProxyType

_FACTORS = MappingProxyType(
    {"m": Decimal("0.001"), "": Decimal(1)}
    | {suffix: Decimal(1000) ** power for power, suffix in enumerate(("k", "M", "G", "T", "P"), start=1)}
    | {suffix: Decimal(1024) ** power for power, suffix in enumerate(("Ki", "Mi", "Gi", "Ti", "Pi"), start=1)}
)
_QUANTITY = re.compile(r"(?P<number>[0-9]+(\.[0-9]*)?|\.[0-9]+)(?P<suffix>[A-Za-z]*)", re.ASCII)


def parse_quantity(text: str) -> Decimal:
    """Return the number that `text` means: cores for CPU, bytes for memory.

    Raises:
        ValueError: It is no quantity; the message says how one is written.
    """
    match = _QUANTITY.fullmatch(text)
    if match is None or match["suffix"] not in _FACTORS:
        known = ", ".join(name for name in _FACTORS if name)
        raise ValueError(f"{text!r} is not a quantity: write a number, with or without one of {known}")
    return Decimal(match["number"]) * _FACTORS[match["suffix"]]


def format_bytes(count: int) -> str:
    """Return `count` bytes as a quantity with the largest binary unit that keeps it exact: 67108864 is `64Mi`."""
    if count < 0:
        raise ValueError(f"a size cannot be negative: {count}")
    for suffix in ("Pi", "Ti", "Gi", "Mi", "Ki"):
        factor = int(_FACTORS[suffix])
        if count and count % factor == 0:
            return f"{count // factor}{suffix}"
    return str(count)
