"""Reads the few kinds that `kubectl create` and `kubectl auth can-i` send as protobuf and as nothing else. Pure.

Field numbers are those of the Kubernetes API's `generated.proto` files. Answers are JSON, which every client takes.
"""

import base64
from collections.abc import Iterator
from typing import Any

_MAGIC = b"k8s\x00"
_VARINT, _BYTES = 0, 2
_META = (1, "metadata", "ObjectMeta")
# Message: number, name and type of each field. "{}" after a type is a map from strings to it, "[]" a list.
_FIELDS: dict[str, tuple[tuple[int, str, str], ...]] = {
    "Unknown": ((1, "typeMeta", "TypeMeta"), (2, "raw", "raw")),
    "TypeMeta": ((1, "apiVersion", "string"), (2, "kind", "string")),
    "ObjectMeta": (
        (1, "name", "string"),
        (2, "generateName", "string"),
        (3, "namespace", "string"),
        (11, "labels", "string{}"),
        (12, "annotations", "string{}"),
        (14, "finalizers", "string[]"),
    ),
    "Namespace": (_META,),
    "ServiceAccount": (_META, (4, "automountServiceAccountToken", "bool")),
    "ConfigMap": (_META, (2, "data", "string{}"), (3, "binaryData", "bytes{}"), (4, "immutable", "bool")),
    "Secret": (
        _META,
        (2, "data", "bytes{}"),
        (3, "type", "string"),
        (4, "stringData", "string{}"),
        (5, "immutable", "bool"),
    ),
    "SelfSubjectAccessReview": (_META, (2, "spec", "AccessReviewSpec")),
    "AccessReviewSpec": ((1, "resourceAttributes", "Resource"), (2, "nonResourceAttributes", "NonResource")),
    "Resource": tuple(
        (number, name, "string")
        for number, name in enumerate(("namespace", "verb", "group", "version", "resource", "subresource", "name"), 1)
    ),
    "NonResource": ((1, "path", "string"), (2, "verb", "string")),
    "SelfSubjectRulesReview": (_META, (2, "spec", "RulesReviewSpec")),
    "RulesReviewSpec": ((1, "namespace", "string"),),
}
KINDS = ("ConfigMap", "Namespace", "Secret", "SelfSubjectAccessReview", "SelfSubjectRulesReview", "ServiceAccount")


def decode(body: bytes) -> dict[str, Any]:
    """Return the object a body holds; ValueError if it is none, LookupError if it is of a kind not read here."""
    if not body.startswith(_MAGIC):
        raise ValueError("the body is no protobuf of Kubernetes")
    envelope = _message("Unknown", body[len(_MAGIC) :])
    named = envelope.get("typeMeta", {})
    if named.get("kind") not in KINDS:
        raise LookupError(named.get("kind", "?"))
    return {**named, **_message(named["kind"], envelope.get("raw", b""))}


def _message(name: str, data: bytes) -> dict[str, Any]:
    fields = {number: (field, kind) for number, field, kind in _FIELDS[name]}
    found: dict[str, Any] = {}
    for number, value in _parts(data):
        if number not in fields:
            continue
        field, kind = fields[number]
        if kind.endswith("{}"):
            entry = dict(_parts(_blob(value)))
            key = _blob(entry.get(1, b"")).decode()
            found.setdefault(field, {})[key] = _value(kind[:-2], entry.get(2, b""))
        elif kind.endswith("[]"):
            found.setdefault(field, []).append(_value(kind[:-2], value))
        elif value not in (b"", 0) or kind in _FIELDS:
            # Go writes empty strings where there is nothing.
            found[field] = _value(kind, value)
    return found


def _value(kind: str, value: int | bytes) -> Any:
    if kind == "bool":
        return bool(value)
    data = _blob(value)
    if kind == "raw":
        return data
    if kind == "string":
        return data.decode()
    return base64.b64encode(data).decode() if kind == "bytes" else _message(kind, data)


def _blob(value: int | bytes) -> bytes:
    if isinstance(value, int):
        raise ValueError("a protobuf field has another type than its kind says")  # noqa: TRY004 - bad input
    return value


def _parts(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield number and value of each field; fields of fixed width, which no kind here has, are passed over."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        number, wire = tag >> 3, tag & 7
        if wire == _VARINT:
            value, at = _varint(data, at)
            yield number, value
        elif wire == _BYTES:
            length, at = _varint(data, at)
            if at + length > len(data):
                raise ValueError("the protobuf ends in the middle of a field")
            yield number, data[at : at + length]
            at += length
        elif wire in (1, 5):
            at += 8 if wire == 1 else 4
        else:
            raise ValueError(f"protobuf has no wire type {wire}")


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(data) and shift < 70:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
    raise ValueError("the protobuf ends in the middle of a number")
