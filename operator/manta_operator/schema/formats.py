"""The string and number formats of OpenAPI that a Kubernetes API server checks; others it ignores, as we do."""

import base64
import binascii
import ipaddress
from collections.abc import Callable, Mapping
from datetime import date, datetime
from types import MappingProxyType
from typing import Any


def _parses(parser: Callable[[Any], Any]) -> Callable[[Any], bool]:
    def check(value: Any) -> bool:
        try:
            parser(value)
        except (ValueError, binascii.Error):
            return False
        return True

    return check


def _date_time(text: str) -> datetime:
    if len(text) < len("2026-01-01T00:00:00Z") or text[10] not in "Tt ":
        raise ValueError(text)
    parsed = datetime.fromisoformat(text)
    if parsed.tzinfo is None:
        raise ValueError(text)
    return parsed


def _in_bits(bits: int) -> Callable[[Any], bool]:
    return lambda value: -(2 ** (bits - 1)) <= value < 2 ** (bits - 1)


NUMBER_FORMATS: Mapping[str, Callable[[Any], bool]] = MappingProxyType({"int32": _in_bits(32), "int64": _in_bits(64)})
STRING_FORMATS: Mapping[str, Callable[[Any], bool]] = MappingProxyType(
    {
        "byte": _parses(lambda text: base64.b64decode(text, validate=True)),
        "date": _parses(date.fromisoformat),
        "date-time": _parses(_date_time),
        "ipv4": _parses(ipaddress.IPv4Address),
        "ipv6": _parses(ipaddress.IPv6Address),
    }
)
