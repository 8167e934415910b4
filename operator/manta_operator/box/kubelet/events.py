"""Kubernetes Events about pods: what `kubectl describe` shows. Repeated ones are counted, not repeated."""

import logging
from collections import OrderedDict
from datetime import UTC, datetime
from itertools import count

from manta_operator.box.cluster import ApiError, Cluster, Object

_log = logging.getLogger(__name__)
_MOST_KEPT = 1000


def timestamp() -> str:
    """Now, as Kubernetes writes it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class EventRecorder:
    """Writes Events on behalf of the kubelet of `node`. Never raises: an Event is a courtesy."""

    def __init__(self, cluster: Cluster, node: str) -> None:
        self._cluster = cluster
        self._node = node
        self._known: OrderedDict[tuple[str, ...], tuple[str, str, int]] = OrderedDict()
        self._numbers = count(1)

    def record(self, pod: Object, type_: str, reason: str, message: str, field_path: str = "") -> None:
        """Tell that `reason` happened to the pod (`type_`: Normal or Warning)."""
        key = (pod["metadata"]["uid"], type_, reason, message, field_path)
        try:
            if key in self._known:
                self._count(key)
            else:
                self._create(key, pod)
        except ApiError as error:
            self._known.pop(key, None)
            _log.debug("event %s for pod %s not written: %s", reason, pod["metadata"]["name"], error.message)

    def _count(self, key: tuple[str, ...]) -> None:
        namespace, name, times = self._known[key]
        patch = {"count": times + 1, "lastTimestamp": timestamp()}
        self._cluster.patch("Event", namespace, name, patch)
        self._known[key] = (namespace, name, times + 1)
        self._known.move_to_end(key)

    def _create(self, key: tuple[str, ...], pod: Object) -> None:
        uid, type_, reason, message, field_path = key
        metadata, now = pod["metadata"], timestamp()
        namespace, name = metadata["namespace"], f"{metadata['name']}.{uid[:8]}{next(self._numbers):x}"
        involved = {
            "apiVersion": "v1",
            "kind": "Pod",
            "namespace": namespace,
            "name": metadata["name"],
            "uid": uid,
            **({"fieldPath": field_path} if field_path else {}),
        }
        self._cluster.create(
            {
                "apiVersion": "v1",
                "kind": "Event",
                "metadata": {"name": name, "namespace": namespace},
                "involvedObject": involved,
                "type": type_,
                "reason": reason,
                "message": message,
                "count": 1,
                "firstTimestamp": now,
                "lastTimestamp": now,
                "source": {"component": "kubelet", "host": self._node},
                "reportingComponent": "kubelet",
                "reportingInstance": self._node,
            }
        )
        self._known[key] = (namespace, name, 1)
        if len(self._known) > _MOST_KEPT:
            _, (namespace, name, _) = self._known.popitem(last=False)
            self._cluster.delete("Event", namespace, name)
