"""The columns of `kubectl get`, as data: one tuple a built-in kind. Custom kinds bring theirs in their CRD.

`tables` turns them into rows. A column reads its cell by a JSONPath or, where kubectl
computes, by a function of `cells`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from manta_operator.box.apiserver import cells, pod_columns
from manta_operator.box.cluster import Object

Cell = Callable[[Object, datetime], Any]


@dataclass(frozen=True)
class Column:
    """One column: `read` is a JSONPath or a function; `priority` 1 shows it with -o wide only."""

    name: str
    read: str | Cell
    type: str = "string"
    priority: int = 0
    format: str = ""
    description: str = ""
    default: Any = None
    """Cell where the path leads nowhere."""


def _wide(name: str, read: str | Cell, default: Any = None) -> Column:
    return Column(name, read, priority=1, default=default)


def _count(name: str, read: str | Cell) -> Column:
    return Column(name, read, "integer", default=0)


NAME = Column("Name", ".metadata.name", format="name")
AGE = Column("Age", cells.age_of(".metadata.creationTimestamp"))
_CREATED = Column("Created At", ".metadata.creationTimestamp")
_IMAGES = (_wide("Containers", cells.containers("name")), _wide("Images", cells.containers("image")))
_SELECTOR = _wide("Selector", cells.selector(".spec.selector"))
_BINDING = (
    NAME,
    Column("Role", cells.role),
    AGE,
    _wide("Users", cells.subjects("User")),
    _wide("Groups", cells.subjects("Group")),
    _wide("ServiceAccounts", cells.subjects("ServiceAccount")),
)
DEFAULT = (NAME, AGE)

COLUMNS: dict[tuple[str, str], tuple[Column, ...]] = {
    ("", "Pod"): (
        NAME,
        Column("Ready", pod_columns.ready),
        Column("Status", pod_columns.status),
        Column("Restarts", pod_columns.restarts),
        AGE,
        _wide("IP", ".status.podIP", "<none>"),
        _wide("Node", ".spec.nodeName", "<none>"),
        _wide("Nominated Node", ".status.nominatedNodeName", "<none>"),
        _wide("Readiness Gates", pod_columns.readiness_gates),
    ),
    ("", "Service"): (
        NAME,
        Column("Type", ".spec.type"),
        Column("Cluster-IP", ".spec.clusterIP", default="<none>"),
        Column("External-IP", cells.external_ip),
        Column("Port(s)", cells.service_ports),
        AGE,
        _wide("Selector", cells.selector(".spec.selector")),
    ),
    ("", "Namespace"): (NAME, Column("Status", ".status.phase"), AGE),
    ("", "Node"): (
        NAME,
        Column("Status", cells.node_status),
        Column("Roles", cells.node_roles),
        AGE,
        Column("Version", ".status.nodeInfo.kubeletVersion"),
        _wide("Internal-IP", ".status.addresses[?(@.type=='InternalIP')].address", "<none>"),
        _wide("External-IP", ".status.addresses[?(@.type=='ExternalIP')].address", "<none>"),
        _wide("OS-Image", ".status.nodeInfo.osImage", "<unknown>"),
        _wide("Kernel-Version", ".status.nodeInfo.kernelVersion", "<unknown>"),
        _wide("Container-Runtime", ".status.nodeInfo.containerRuntimeVersion", "<unknown>"),
    ),
    ("", "ConfigMap"): (NAME, _count("Data", cells.size(".data", ".binaryData")), AGE),
    ("", "Secret"): (NAME, Column("Type", ".type"), _count("Data", cells.size(".data")), AGE),
    ("", "ServiceAccount"): (NAME, _count("Secrets", cells.size(".secrets")), AGE),
    ("", "Event"): (
        Column("Last Seen", cells.last_seen),
        Column("Type", ".type"),
        Column("Reason", ".reason"),
        Column("Object", cells.involved_object),
        _wide("Subobject", ".involvedObject.fieldPath"),
        _wide("Source", cells.event_source),
        Column("Message", cells.event_message),
        _wide("First Seen", cells.first_seen),
        Column("Count", cells.event_count, "integer", 1),
        Column("Name", ".metadata.name", priority=1, format="name"),
    ),
    ("", "PersistentVolumeClaim"): (
        NAME,
        Column("Status", ".status.phase"),
        Column("Volume", ".spec.volumeName", default=""),
        Column("Capacity", ".status.capacity.storage", default=""),
        Column("Access Modes", cells.access_modes),
        Column("StorageClass", ".spec.storageClassName", default=""),
        AGE,
        _wide("VolumeMode", ".spec.volumeMode", "<unset>"),
    ),
    ("apps", "Deployment"): (
        NAME,
        Column("Ready", cells.ready_of_desired),
        _count("Up-to-date", ".status.updatedReplicas"),
        _count("Available", ".status.availableReplicas"),
        AGE,
        *_IMAGES,
        _SELECTOR,
    ),
    ("apps", "StatefulSet"): (NAME, Column("Ready", cells.ready_of_desired), AGE, *_IMAGES),
    ("apps", "ReplicaSet"): (
        NAME,
        _count("Desired", ".spec.replicas"),
        _count("Current", ".status.replicas"),
        _count("Ready", ".status.readyReplicas"),
        AGE,
        *_IMAGES,
        _SELECTOR,
    ),
    ("apps", "ControllerRevision"): (
        NAME,
        Column("Controller", cells.controller, default="<none>"),
        _count("Revision", ".revision"),
        AGE,
    ),
    ("discovery.k8s.io", "EndpointSlice"): (
        NAME,
        Column("AddressType", ".addressType"),
        Column("Ports", cells.endpoint_ports),
        Column("Endpoints", cells.endpoint_addresses),
        AGE,
    ),
    ("policy", "PodDisruptionBudget"): (
        NAME,
        Column("Min Available", ".spec.minAvailable", default="N/A"),
        Column("Max Unavailable", ".spec.maxUnavailable", default="N/A"),
        _count("Allowed Disruptions", ".status.disruptionsAllowed"),
        AGE,
    ),
    ("networking.k8s.io", "NetworkPolicy"): (NAME, Column("Pod-Selector", cells.selector(".spec.podSelector")), AGE),
    ("rbac.authorization.k8s.io", "Role"): (NAME, _CREATED),
    ("rbac.authorization.k8s.io", "ClusterRole"): (NAME, _CREATED),
    ("rbac.authorization.k8s.io", "RoleBinding"): _BINDING,
    ("rbac.authorization.k8s.io", "ClusterRoleBinding"): _BINDING,
    ("coordination.k8s.io", "Lease"): (NAME, Column("Holder", ".spec.holderIdentity", default=""), AGE),
    ("scheduling.k8s.io", "PriorityClass"): (
        NAME,
        _count("Value", ".value"),
        Column("Global-Default", ".globalDefault", "boolean", default=False),
        AGE,
        Column("PreemptionPolicy", ".preemptionPolicy", default="PreemptLowerPriority"),
    ),
    ("apiextensions.k8s.io", "CustomResourceDefinition"): (NAME, _CREATED),
}
