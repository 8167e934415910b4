"""Which engine replicas exist and may be picked, from the bodies of their pods.

Pure; `pod_watch.py` brings the bodies.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

REPLICA_LABEL = "manta.dev/replica"
Pod = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The head pod of one replica. `address` is ip:port of its engine; `usable`: ready and not being deleted."""

    name: str
    address: str
    replica: str
    usable: bool


def endpoint_of(pod: Pod, port: int) -> Endpoint | None:
    """What a pod is to the router; None while it has no address."""
    metadata, status = pod.get("metadata") or {}, pod.get("status") or {}
    address = status.get("podIP")
    if not address:
        return None
    conditions = status.get("conditions") or ()
    ready = any(c.get("type") == "Ready" and c.get("status") == "True" for c in conditions)
    host = f"[{address}]" if ":" in address else address
    return Endpoint(
        name=metadata["name"],
        address=f"{host}:{port}",
        replica=(metadata.get("labels") or {}).get(REPLICA_LABEL, ""),
        usable=ready and not metadata.get("deletionTimestamp"),
    )


class Members:
    """The last known pods. Every change builds a new tuple, so readers may keep the one they got."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._pods: dict[str, Endpoint | None] = {}
        self.usable: tuple[Endpoint, ...] = ()

    @property
    def known(self) -> int:
        """How many replicas exist, usable or not."""
        return len(self._pods)

    @property
    def names(self) -> tuple[str, ...]:
        """The pods that exist."""
        return tuple(self._pods)

    def replace(self, pods: Iterable[Pod]) -> None:
        """The result of a list: these pods and no others."""
        self._pods = {pod["metadata"]["name"]: endpoint_of(pod, self._port) for pod in pods}
        self._refresh()

    def apply(self, event: str, pod: Pod) -> None:
        """One event of a watch: ADDED, MODIFIED or DELETED."""
        name = pod["metadata"]["name"]
        if event == "DELETED":
            self._pods.pop(name, None)
        else:
            self._pods[name] = endpoint_of(pod, self._port)
        self._refresh()

    def _refresh(self) -> None:
        self.usable = tuple(e for _, e in sorted(self._pods.items()) if e is not None and e.usable)
