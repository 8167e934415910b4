"""Events on objects: what `kubectl describe` shows at its end. One Event per (object, reason, message), counted."""

import hashlib
import time

from manta_operator.box.cluster import ApiError, Cluster, Object
from manta_operator.box.workloads.objects import timestamp

COMPONENT = "manta-box"


def record(cluster: Cluster, about: Object, kind: str, reason: str, message: str) -> None:
    """Tell people about `about`; kind is Normal or Warning. Losing an Event is never an error."""
    meta = about["metadata"]
    namespace = meta.get("namespace") or "default"
    identity = f"{meta.get('uid')}/{reason}/{message}".encode()
    name = f"{meta['name']}.{hashlib.sha256(identity).hexdigest()[:16]}"
    now = timestamp(time.time())
    try:
        old = cluster.find("Event", namespace, name)
        if old is not None:
            again = {"count": (old.get("count") or 1) + 1, "lastTimestamp": now}
            cluster.patch("Event", namespace, name, again)
        else:
            cluster.create(_event(about, namespace, name, kind, reason, message, now))
    except ApiError:
        return


def _event(about: Object, namespace: str, name: str, kind: str, reason: str, message: str, now: str) -> Object:
    meta = about["metadata"]
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": name, "namespace": namespace},
        "involvedObject": {
            "apiVersion": about["apiVersion"],
            "kind": about["kind"],
            "name": meta["name"],
            "namespace": meta.get("namespace"),
            "uid": meta.get("uid"),
        },
        "type": kind,
        "reason": reason,
        "message": message,
        "source": {"component": COMPONENT},
        "reportingComponent": COMPONENT,
        "reportingInstance": COMPONENT,
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
    }
