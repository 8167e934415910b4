"""Kubernetes quantities (`100m`, `1.5Gi`, `2e3`) as exact numbers, and back as people read them. Pure."""

import re
from collections.abc import Mapping
from fractions import Fraction
from functools import lru_cache

_FORM = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+))(?:([eE][+-]?\d+)|([numkMGTPE]|[KMGTPE]i)?)")
_BINARY = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}
_DECIMAL = {"n": -9, "u": -6, "m": -3, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}

Amounts = Mapping[str, Fraction]


@lru_cache(maxsize=4096)  # the pods of a cluster ask for few different amounts
def parse(text: str | float) -> Fraction:
    """A quantity as a number (cores, bytes, pieces). Raises ValueError if it is none."""
    found = _FORM.fullmatch(str(text).strip())
    if found is None:
        raise ValueError(f"{text!r} is not a Kubernetes quantity; write for example 500m, 2, 512Mi or 8Gi")
    number, exponent, suffix = found.groups()
    value = Fraction(number)
    if exponent:
        return value * Fraction(10) ** int(exponent[1:])
    if suffix in _BINARY:
        return value * (1 << _BINARY[suffix])
    return value * Fraction(10) ** _DECIMAL.get(suffix or "", 0)


def render(resource: str, amount: Fraction) -> str:
    """An amount for a message: memory in Mi or Gi, CPU in cores, the rest as a number."""
    if resource == "memory" or resource.endswith("storage"):
        mebibytes = float(amount) / (1 << 20)
        return f"{mebibytes / 1024:.1f}Gi" if abs(mebibytes) >= 1024 else f"{mebibytes:.0f}Mi"
    if amount.denominator == 1:
        return str(amount)
    return f"{float(amount) * 1000:.0f}m" if resource == "cpu" else f"{float(amount):g}"
