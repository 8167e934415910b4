"""Which engine replicas exist and may be picked, from the bodies of their pods.

Pure; `pod_watch.py` brings the bodies, `picker/health.py` what came of replicas that failed.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

REPLICA_LABEL = "manta.dev/replica"
REVISION_LABEL = "manta.dev/revision"
Pod = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The head pod of one replica. `address` is ip:port of its engine; `usable`: ready and not being deleted.

    `revision`: of its template; `created`: when, as Kubernetes writes times; `uid`: another one for
    another pod of the same name.
    """

    name: str
    address: str
    replica: str
    usable: bool
    revision: str = ""
    created: str = ""
    uid: str = ""


def endpoint_of(pod: Pod, port: int) -> Endpoint | None:
    """What a pod is to the router; None while it has no address."""
    metadata, status = pod.get("metadata") or {}, pod.get("status") or {}
    address = status.get("podIP")
    if not address:
        return None
    conditions = status.get("conditions") or ()
    ready = any(c.get("type") == "Ready" and c.get("status") == "True" for c in conditions)
    host = f"[{address}]" if ":" in address else address
    labels = metadata.get("labels") or {}
    return Endpoint(
        name=metadata["name"],
        address=f"{host}:{port}",
        replica=labels.get(REPLICA_LABEL, ""),
        usable=ready and not metadata.get("deletionTimestamp"),
        revision=labels.get(REVISION_LABEL, ""),
        created=metadata.get("creationTimestamp") or "",
        uid=metadata.get("uid") or "",
    )


class Members:
    """The last known pods, and which replicas failed a moment ago.

    Every change builds a new tuple, so readers may keep the one they got.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self._pods: dict[str, Endpoint | None] = {}
        self._ejected: dict[str, str] = {}  # name → the address that failed
        self._reached: frozenset[str] | None = None
        self.all: tuple[Endpoint, ...] = ()
        self.ready: tuple[Endpoint, ...] = ()
        """Those of which the API server says that they serve."""
        self.usable: tuple[Endpoint, ...] = ()
        """Those of them that can be sent to."""

    @property
    def known(self) -> int:
        """How many replicas exist, usable or not."""
        return len(self._pods)

    @property
    def names(self) -> tuple[str, ...]:
        """The pods that exist."""
        return tuple(self._pods)

    @property
    def ejected(self) -> frozenset[str]:
        """Usable replicas that failed a connection and have not answered since."""
        return frozenset(self._ejected)

    def replace(self, pods: Iterable[Pod]) -> None:
        """The result of a list: these pods and no others."""
        self._pods = {pod["metadata"]["name"]: endpoint_of(pod, self._port) for pod in pods}
        self._refresh()

    def recall(self, endpoints: Iterable[Endpoint]) -> None:
        """These were the pods when somebody last looked; the next list tells what became of them."""
        self._pods = {endpoint.name: endpoint for endpoint in endpoints}
        self._refresh()

    def apply(self, event: str, pod: Pod) -> None:
        """One event of a watch: ADDED, MODIFIED or DELETED."""
        name = pod["metadata"]["name"]
        if event == "DELETED":
            self._pods.pop(name, None)
        else:
            self._pods[name] = endpoint_of(pod, self._port)
        self._refresh()

    def reach(self, addresses: frozenset[str]) -> None:
        """Only these (ip:port) can be sent to; before the first call all can."""
        self._reached = addresses
        self._refresh()

    def eject(self, name: str) -> bool:
        """A connection to it failed: pick it no more while others are there. False if it was out (or gone) already."""
        endpoint = self._pods.get(name)
        if endpoint not in self.usable or name in self._ejected:
            return False
        self._ejected[name] = endpoint.address
        return True

    def restore(self, name: str) -> bool:
        """It answers again. False if it was not out."""
        return self._ejected.pop(name, None) is not None

    def _refresh(self) -> None:
        self.all = tuple(e for _, e in sorted(self._pods.items()) if e is not None)
        self.ready = tuple(e for e in self.all if e.usable)
        reached = self._reached
        self.usable = tuple(e for e in self.ready if reached is None or e.address in reached)
        # A pod that became unready, went, or came back elsewhere starts afresh.
        here = {e.name: e.address for e in self.usable}
        self._ejected = {name: address for name, address in self._ejected.items() if here.get(name) == address}
