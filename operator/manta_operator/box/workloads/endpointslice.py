"""The EndpointSlice controller: which addresses stand behind each Service. `slices` is pure, the class writes them.

One slice per distinct set of resolved ports (named target ports may differ from pod to pod). Slices people made
themselves are left alone.
"""

from collections.abc import Iterable, Sequence

from manta_operator.box.cluster import Cluster, Event, Object
from manta_operator.box.workloads.objects import (
    TERMINAL_PHASES,
    Key,
    is_deleting,
    is_ready,
    key_of,
    matches_labels,
    owner_reference,
    phase,
    template_hash,
)

SERVICE_LABEL = "kubernetes.io/service-name"
MANAGED_BY_LABEL = "endpointslice.kubernetes.io/managed-by"
MANAGER = "endpointslice-controller.k8s.io"
_HEADLESS_LABEL = "service.kubernetes.io/headless"

Port = tuple[str, str, int]  # name, protocol, number


def slices(service: Object, pods: Sequence[Object]) -> list[Object]:
    """The EndpointSlices of one Service, given the pods its selector matches."""
    groups: dict[tuple[Port, ...], list[Object]] = {}
    for pod in sorted(pods, key=lambda p: str(p["metadata"]["name"])):
        if (pod.get("status") or {}).get("podIP") and phase(pod) not in TERMINAL_PHASES:
            groups.setdefault(_ports(service, pod), []).append(_endpoint(service, pod))
    if not groups:
        groups[()] = []
    return [_slice(service, ports, endpoints) for ports, endpoints in sorted(groups.items())]


def _ports(service: Object, pod: Object) -> tuple[Port, ...]:
    found = []
    for port in service["spec"].get("ports") or []:
        protocol = port.get("protocol", "TCP")
        number = _number(port.get("targetPort", port["port"]), protocol, pod)
        if number is not None:
            found.append((port.get("name", ""), protocol, number))
    return tuple(found)


def _number(target: int | str, protocol: str, pod: Object) -> int | None:
    """A target port as a number; a name is looked up in the pod's containers, None if no container has it."""
    if isinstance(target, int):
        return target
    for container in pod["spec"].get("containers") or []:
        for port in container.get("ports") or []:
            if port.get("name") == target and port.get("protocol", "TCP") == protocol:
                return int(port["containerPort"])
    return None


def _endpoint(service: Object, pod: Object) -> Object:
    meta, serving, terminating = pod["metadata"], is_ready(pod), is_deleting(pod)
    publish = bool(service["spec"].get("publishNotReadyAddresses"))
    endpoint: Object = {
        "addresses": [pod["status"]["podIP"]],
        "conditions": {
            "ready": publish or (serving and not terminating),
            "serving": serving,
            "terminating": terminating,
        },
        "targetRef": {"kind": "Pod", "name": meta["name"], "namespace": meta["namespace"], "uid": meta["uid"]},
    }
    if pod["spec"].get("nodeName"):
        endpoint["nodeName"] = pod["spec"]["nodeName"]
    if pod["spec"].get("hostname") and pod["spec"].get("subdomain") == service["metadata"]["name"]:
        endpoint["hostname"] = pod["spec"]["hostname"]
    return endpoint


def _slice(service: Object, ports: tuple[Port, ...], endpoints: list[Object]) -> Object:
    meta = service["metadata"]
    labels = {**(meta.get("labels") or {}), SERVICE_LABEL: meta["name"], MANAGED_BY_LABEL: MANAGER}
    if service["spec"].get("clusterIP") == "None":
        labels[_HEADLESS_LABEL] = ""
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": f"{meta['name']}-{template_hash([meta['uid'], ports])[:5]}",
            "namespace": meta["namespace"],
            "labels": labels,
            "ownerReferences": [owner_reference(service)],
        },
        "addressType": "IPv4",
        "endpoints": endpoints,
        "ports": [{"name": name, "protocol": protocol, "port": number} for name, protocol, number in ports],
    }


class EndpointSliceController:
    """Keeps the slices of every Service in step with its pods."""

    name = "endpointslice"
    kinds = ("Service", "Pod", "EndpointSlice")

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def keys(self, event: Event) -> Iterable[Key]:
        """The Service, the Service of a slice, or all Services of a pod's namespace (its labels may have changed)."""
        namespace = event.object["metadata"]["namespace"]
        if event.object["kind"] == "Service":
            return [key_of(event.object)]
        if event.object["kind"] == "EndpointSlice":
            service = (event.object["metadata"].get("labels") or {}).get(SERVICE_LABEL)
            return [(namespace, service)] if service else []
        return [key_of(service) for service in self._cluster.list("Service", namespace)]

    def reconcile(self, key: Key) -> float | None:
        """One pass over one Service."""
        namespace, name = key
        service = self._cluster.find("Service", namespace, name)
        if service is None or is_deleting(service):
            return None  # the garbage collector takes the slices of a Service that is gone
        selector = service["spec"].get("selector")
        if not selector or service["spec"].get("type") == "ExternalName":
            return None
        matching = {"matchLabels": selector}
        pods = self._cluster.list("Pod", namespace)
        pods = [pod for pod in pods if matches_labels(matching, pod["metadata"].get("labels") or {})]
        labels = {SERVICE_LABEL: str(name), MANAGED_BY_LABEL: MANAGER}
        existing = {s["metadata"]["name"]: s for s in self._cluster.list("EndpointSlice", namespace, labels)}
        for wanted in slices(service, pods):
            self._write(wanted, existing.pop(wanted["metadata"]["name"], None))
        for leftover in existing:
            self._cluster.delete("EndpointSlice", namespace, leftover)
        return None

    def _write(self, wanted: Object, stored: Object | None) -> None:
        if stored is None:
            self._cluster.create(wanted)
            return
        parts = ("endpoints", "ports")
        same_labels = stored["metadata"].get("labels") == wanted["metadata"]["labels"]
        if same_labels and all((stored.get(part) or []) == wanted[part] for part in parts):
            return
        self._cluster.update({**wanted, "metadata": {**stored["metadata"], "labels": wanted["metadata"]["labels"]}})
