"""What a gateway says beside the request: its headers, the endpoints it allows, the one that served. Pure.

Names are those of the Endpoint Picker Protocol. Gateways differ in how they write lists: as lists or with commas.
"""

from typing import Any

import msgspec

SUBSET_NAMESPACE, SUBSET_KEY = "envoy.lb.subset_hint", "x-gateway-destination-endpoint-subset"
LB_NAMESPACE, SERVED_KEY = "envoy.lb", "x-gateway-destination-endpoint-served"
RENAME_HEADER = b"x-gateway-model-name-rewrite"

_members = msgspec.json.Decoder(dict[str, msgspec.Raw])


def headers_of(header_map: Any) -> dict[bytes, bytes]:
    """Headers by lower-case name; the last of a name wins. Envoy sends raw values, others may send strings."""
    return {h.key.lower().encode("latin-1"): h.raw_value or h.value.encode() for h in header_map.headers}


def subset(context: Any, port: int) -> tuple[str, ...] | None:
    """The endpoints the gateway allows, as ip:port; None if it allows all. An address without a port means `port`."""
    value = _value(context, SUBSET_NAMESPACE, SUBSET_KEY)
    if value is None:
        return None
    texts = [v.string_value for v in value.list_value.values] or [value.string_value]
    addresses = [part.strip() for text in texts for part in text.split(",")]
    return tuple(_with_port(address, port) for address in addresses if address)


def served(context: Any) -> str:
    """The endpoint that served the request, as the gateway says; empty if it does not."""
    value = _value(context, LB_NAMESPACE, SERVED_KEY)
    return value.string_value if value is not None else ""


def renamed(body: bytes, headers: dict[bytes, bytes]) -> bytes:
    """The body with the model the gateway wants instead; as it is if the gateway wants none or it is no JSON object."""
    name = headers.get(RENAME_HEADER)
    if not name or not body:
        return body
    try:
        members = _members.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return body  # whoever reads it will say what is wrong with it
    members["model"] = msgspec.Raw(msgspec.json.encode(name.decode("latin-1")))
    return msgspec.json.encode(members)


def _value(context: Any, namespace: str, key: str) -> Any | None:
    if namespace not in context.filter_metadata:
        return None
    fields = context.filter_metadata[namespace].fields
    return fields[key] if key in fields else None  # noqa: SIM401 - protobuf's maps have no get for messages


def _with_port(address: str, port: int) -> str:
    """IPv6 addresses come in brackets when they have a port."""
    if address.startswith("["):
        return address if "]:" in address else f"{address}:{port}"
    if address.count(":") > 1:
        return f"[{address}]:{port}"
    return address if ":" in address else f"{address}:{port}"
