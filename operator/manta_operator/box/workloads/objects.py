"""Reading and shaping plain Kubernetes objects: the vocabulary every controller of the box shares. Pure."""

import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from manta_operator.box.cluster import Object
from manta_operator.placement.selectors import matches_expression

Key = tuple[str | None, str]
TERMINAL_PHASES = ("Succeeded", "Failed")
_HASH_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"


def key_of(obj: Object) -> Key:
    """(namespace or None, name) of an object."""
    meta = obj["metadata"]
    return meta.get("namespace"), meta["name"]


def timestamp(now: float) -> str:
    """Seconds since the epoch as Kubernetes writes a time (UTC, whole seconds)."""
    return datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def seconds(text: str | None) -> float:
    """A Kubernetes time as seconds since the epoch; 0 when absent."""
    return datetime.fromisoformat(text).timestamp() if text else 0.0


def template_hash(value: Any) -> str:
    """Ten letters that change when the value changes; safe in names and labels."""
    digest = hashlib.sha256(json.dumps(value, sort_keys=True).encode()).digest()
    return "".join(_HASH_ALPHABET[byte % len(_HASH_ALPHABET)] for byte in digest[:10])


def owner_reference(owner: Object) -> Object:
    """A controller reference to owner, blocking its foreground deletion."""
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


def controller_of(obj: Object) -> Object | None:
    """The owner reference that controls obj, if there is one."""
    references: list[Object] = obj["metadata"].get("ownerReferences") or []
    return next((reference for reference in references if reference.get("controller")), None)


def is_controlled_by(obj: Object, owner: Object) -> bool:
    """Whether owner (this very one: the uid counts) controls obj."""
    reference = controller_of(obj)
    return reference is not None and reference["uid"] == owner["metadata"]["uid"]


def is_deleting(obj: Object) -> bool:
    """Whether the object has been asked to go."""
    return bool(obj["metadata"].get("deletionTimestamp"))


def phase(pod: Object) -> str:
    """The pod's phase, Pending until somebody says otherwise."""
    return str((pod.get("status") or {}).get("phase") or "Pending")


def is_active(pod: Object) -> bool:
    """Whether the pod still counts as one of its controller's: neither ended nor leaving."""
    return phase(pod) not in TERMINAL_PHASES and not is_deleting(pod)


def condition(obj: Object, kind: str) -> Object | None:
    """The condition of this type, if set."""
    found: list[Object] = (obj.get("status") or {}).get("conditions") or []
    return next((item for item in found if item["type"] == kind), None)


def is_ready(pod: Object) -> bool:
    """Whether the pod's Ready condition is True."""
    ready = condition(pod, "Ready")
    return ready is not None and ready["status"] == "True"


def available_at(pod: Object, min_ready_seconds: int) -> float:
    """When (seconds since the epoch) a pod is or will be available; infinity while it is not ready."""
    ready = condition(pod, "Ready")
    if ready is None or ready["status"] != "True":
        return math.inf
    return seconds(ready.get("lastTransitionTime")) + min_ready_seconds if min_ready_seconds else 0.0


def next_available(pods: Iterable[Object], min_ready_seconds: int, now: float) -> float | None:
    """Seconds until the next ready pod becomes available; None if there is nothing to wait for."""
    moments = [available_at(pod, min_ready_seconds) for pod in pods]
    waits = [moment - now for moment in moments if now < moment < math.inf]
    return min(waits, default=None)


def with_condition(conditions: Sequence[Object], new: Object) -> list[Object]:
    """Conditions with this one set; keeps lastTransitionTime when the status did not change, and order by type."""
    old = next((item for item in conditions if item["type"] == new["type"]), None)
    if old is not None and old["status"] == new["status"] and "lastTransitionTime" in old:
        new = {**new, "lastTransitionTime": old["lastTransitionTime"]}
    return sorted([*(c for c in conditions if c["type"] != new["type"]), new], key=lambda c: str(c["type"]))


def matches_labels(selector: Mapping[str, Any] | None, labels: Mapping[str, str]) -> bool:
    """A LabelSelector (matchLabels, matchExpressions) against labels; an absent selector matches nothing."""
    if selector is None:
        return False
    equal = all(labels.get(name) == value for name, value in (selector.get("matchLabels") or {}).items())
    return equal and all(matches_expression(item, labels) for item in selector.get("matchExpressions") or [])


def scaled(value: int | str | None, total: int, *, up: bool) -> int:
    """An int-or-percent of total, percentages rounded up or down."""
    if value is None:
        return 0
    if isinstance(value, int):
        return value
    share = int(value.rstrip("%")) * total / 100
    return math.ceil(share) if up else math.floor(share)
