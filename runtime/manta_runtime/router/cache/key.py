"""The name of a request: equal for requests that must have the same answer, whatever their spelling. Pure.

Two JSON texts that differ only in white space, the order of keys, or how text and numbers are spelled are one request;
every field counts, even those that an engine ignores: to know which ones it ignores would be to know every engine.
"""

from hashlib import blake2b
from typing import Any

import msgspec

MAX_BODY_BYTES = 1 << 19
"""Larger bodies are not looked up: the picker must not stop for milliseconds to hash one."""

DIGEST_BYTES = 32

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder(order="sorted").encode


def read(body: bytes) -> dict[str, Any] | None:
    """The body as an object; None if it is none, or cannot be written canonically."""
    try:
        found = _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def digest(tenant: str, path: str, body: dict[str, Any]) -> bytes:
    """The name of a tenant's request. Each part goes in with its length, so that none can run into the next."""
    found = blake2b(digest_size=DIGEST_BYTES)
    for part in (tenant.encode(), path.encode(), _encode(body)):
        found.update(len(part).to_bytes(8))
        found.update(part)
    return found.digest()
