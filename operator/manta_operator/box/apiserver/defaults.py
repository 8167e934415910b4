"""Defaults of built-in kinds, as a table by definition: what the server fills in where the user said nothing."""

from collections.abc import Mapping
from typing import Any

from manta_operator.box.apiserver import kinds
from manta_operator.box.apiserver.kinds import DEFINITION, Node
from manta_operator.schema.json_copy import json_copy

_CORE, _APPS = "io.k8s.api.core.v1.", "io.k8s.api.apps.v1."

DEFAULTS: dict[str, dict[str, Any]] = {
    _CORE + "PodSpec": {
        "restartPolicy": "Always",
        "terminationGracePeriodSeconds": 30,
        "dnsPolicy": "ClusterFirst",
        "securityContext": {},
        "schedulerName": "default-scheduler",
    },
    _CORE + "Container": {
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File",
        "resources": {},
    },
    _CORE + "ContainerPort": {"protocol": "TCP"},
    _CORE + "Probe": {"timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3},
    _CORE + "HTTPGetAction": {"path": "/", "scheme": "HTTP"},
    _CORE + "ObjectFieldSelector": {"apiVersion": "v1"},
    _CORE + "ConfigMapVolumeSource": {"defaultMode": 420},
    _CORE + "SecretVolumeSource": {"defaultMode": 420},
    _CORE + "ProjectedVolumeSource": {"defaultMode": 420},
    _CORE + "DownwardAPIVolumeSource": {"defaultMode": 420},
    _CORE + "HostPathVolumeSource": {"type": ""},
    _CORE + "ServiceSpec": {
        "type": "ClusterIP",
        "sessionAffinity": "None",
        "internalTrafficPolicy": "Cluster",
        "ipFamilies": ["IPv4"],
        "ipFamilyPolicy": "SingleStack",
    },
    _CORE + "ServicePort": {"protocol": "TCP"},
    _CORE + "Secret": {"type": "Opaque"},
    _CORE + "PersistentVolumeClaimSpec": {"volumeMode": "Filesystem"},
    _APPS + "DeploymentSpec": {
        "replicas": 1,
        "strategy": {},
        "revisionHistoryLimit": 10,
        "progressDeadlineSeconds": 600,
    },
    _APPS + "DeploymentStrategy": {"type": "RollingUpdate"},
    _APPS + "ReplicaSetSpec": {"replicas": 1},
    _APPS + "StatefulSetSpec": {
        "replicas": 1,
        "podManagementPolicy": "OrderedReady",
        "updateStrategy": {},
        "revisionHistoryLimit": 10,
        "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Retain", "whenScaled": "Retain"},
    },
    _APPS + "StatefulSetUpdateStrategy": {"type": "RollingUpdate"},
    "io.k8s.api.networking.v1.NetworkPolicyPort": {"protocol": "TCP"},
    "io.k8s.api.discovery.v1.EndpointPort": {"name": "", "protocol": "TCP"},
}


def default(node: Node, value: Any) -> Any:
    """Return a copy of a built-in object with defaults, wherever in it they belong."""
    if isinstance(value, list):
        return [default(kinds.element(node), item) for item in value]
    if not isinstance(value, Mapping):
        return value
    name = node.get(DEFINITION, "")
    filled = {**{k: json_copy(v) for k, v in DEFAULTS.get(name, {}).items() if value.get(k) is None}}
    filled = {**{k: v for k, v in value.items() if k not in filled}, **filled}
    if name in _COMPUTED:
        _COMPUTED[name](filled)
    return {key: default(kinds.child(node, key), item) for key, item in filled.items()}


def missing_key(node: Node, key: str) -> Any:
    """Return the default of a list-map key that an element leaves out; None if it has none."""
    return DEFAULTS.get(node.get(DEFINITION, ""), {}).get(key, node.get("properties", {}).get(key, {}).get("default"))


def _container(container: dict[str, Any]) -> None:
    image = str(container.get("image", ""))
    tag = image.rpartition("/")[2].partition(":")[2]
    floating = "@" not in image and tag in ("", "latest")
    container.setdefault("imagePullPolicy", "Always" if floating else "IfNotPresent")


def _pod(pod: dict[str, Any]) -> None:
    """Only of pods themselves: a workload's template keeps what the user wrote."""
    spec = pod.get("spec")
    if not isinstance(spec, Mapping):
        return
    lists = [name for name in ("initContainers", "containers") if isinstance(spec.get(name), list)]
    filled = {name: [_with_requests(container) for container in spec[name]] for name in lists}
    pod["spec"] = {"enableServiceLinks": True, **spec, **filled}


def _with_requests(container: Any) -> Any:
    resources = container.get("resources") if isinstance(container, Mapping) else None
    limits = resources.get("limits") if isinstance(resources, Mapping) else None
    if not isinstance(resources, Mapping) or not limits:
        return container
    return {**container, "resources": {**resources, "requests": {**limits, **(resources.get("requests") or {})}}}


def _service_port(port: dict[str, Any]) -> None:
    port.setdefault("targetPort", port.get("port"))


def _rolling(strategy: dict[str, Any]) -> None:
    if strategy["type"] == "RollingUpdate":
        strategy["rollingUpdate"] = {
            "maxUnavailable": "25%",
            "maxSurge": "25%",
            **(strategy.get("rollingUpdate") or {}),
        }


def _stateful_rolling(strategy: dict[str, Any]) -> None:
    if strategy["type"] == "RollingUpdate":
        strategy["rollingUpdate"] = {"partition": 0, **(strategy.get("rollingUpdate") or {})}


def _pod_spec(spec: dict[str, Any]) -> None:
    account = spec.get("serviceAccountName") or spec.get("serviceAccount")
    if account:
        spec["serviceAccountName"] = spec["serviceAccount"] = account


def _network_policy(spec: dict[str, Any]) -> None:
    spec.setdefault("policyTypes", ["Ingress", "Egress"] if spec.get("egress") else ["Ingress"])


def _role_ref(subject: dict[str, Any]) -> None:
    if subject.get("kind") in ("User", "Group"):
        subject.setdefault("apiGroup", "rbac.authorization.k8s.io")


_COMPUTED = {
    _CORE + "Pod": _pod,
    _CORE + "Container": _container,
    _CORE + "ServicePort": _service_port,
    _CORE + "PodSpec": _pod_spec,
    _APPS + "DeploymentStrategy": _rolling,
    _APPS + "StatefulSetUpdateStrategy": _stateful_rolling,
    "io.k8s.api.networking.v1.NetworkPolicySpec": _network_policy,
    "io.k8s.api.rbac.v1.Subject": _role_ref,
}
