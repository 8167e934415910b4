"""The pod of the router: its containers, volumes and probes. Pure.

    envoy    moves the bytes (not in mode inference-pool)
    picker   knows the replicas, the keys and the limits; Envoy or a gateway asks it once a request

Both read the ConfigMaps; the picker alone sees the Secret of keys. They share a folder: the picker writes the replicas
there, and listens there, on Unix sockets of their one user. So Envoy's questions to it need no port.
"""

from collections.abc import Sequence
from typing import Any

from manta_operator.api import names
from manta_operator.api.models import LLMDeployment, Resources, RouterSpec
from manta_operator.api.quantity import format_bytes, parse_quantity
from manta_operator.builders.engine_pod import END_MARGIN_SECONDS, USER
from manta_operator.builders.metadata import selector
from manta_operator.builders.router_config import CONFIG_FILE, TENANTS_FILE, longest_hold
from manta_operator.builders.scheduling import scheduling

Object = dict[str, Any]

CONFIG_PATH = "/etc/manta/router"
KEYS_PATH = "/etc/manta/keys"
RUN_PATH = "/var/run/manta-router"
TMP_PATH = "/tmp"  # noqa: S108 - the container's own: its root is read-only
KEYS_MODE = 0o440
EPP_TLS_PATH = "/etc/manta/epp-tls"
PICKER_CPU = "100m"
PICKER_MEMORY = "128Mi"


def router_pod(deployment: LLMDeployment, configs: Sequence[Object]) -> Object:
    """Return the spec of the router's pods. They end when held and running requests have had their time.

    Args:
        deployment: What is asked for.
        configs: The ConfigMaps of `router_config`, whose files they find in one folder.
    """
    spec = deployment.spec
    spread = {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": selector(deployment, names.COMPONENT_ROUTER)},
    }
    end = longest_hold(deployment) + spec.rollout.drain_seconds + END_MARGIN_SECONDS
    return {
        "containers": [*([_envoy(deployment)] if spec.router.mode == "envoy" else []), _picker(deployment)],
        "enableServiceLinks": False,
        "securityContext": {
            "fsGroup": USER,  # files of a Secret belong to root otherwise
            "runAsNonRoot": True,
            "runAsUser": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "serviceAccountName": names.router_name(deployment.name),
        "terminationGracePeriodSeconds": end,
        "topologySpreadConstraints": [spread],
        "volumes": _volumes(deployment, configs),
    } | scheduling(spec.router.scheduling)


def _volumes(deployment: LLMDeployment, configs: Sequence[Object]) -> list[Object]:
    sources = [{"configMap": {"name": config["metadata"]["name"]}} for config in configs]
    auth = deployment.spec.router.auth
    # Optional: without it the pods would not start, and nobody could ask what is wrong. The picker refuses everybody.
    keys = {"secretName": auth.secret, "optional": True, "defaultMode": KEYS_MODE} if auth else None
    # For gateways that verify the endpoint picker: it signs its own certificate where there is none.
    certificate = {"secretName": names.epp_tls_name(deployment.name), "optional": True, "defaultMode": KEYS_MODE}
    return [
        {"name": "config", "projected": {"sources": sources}},
        *([{"name": "keys", "secret": keys}] if keys else []),
        *([{"name": "epp-tls", "secret": certificate}] if deployment.spec.router.mode == "inference-pool" else []),
        {"name": "run", "emptyDir": {"sizeLimit": "64Mi"}},
        {"name": "tmp", "emptyDir": {"sizeLimit": "256Mi"}},
    ]


def _envoy(deployment: LLMDeployment) -> Object:
    """Return Envoy's container. It is alive by its launcher's word: the traffic port refuses connections at its cap."""
    ports = {"http": names.ROUTER_PORT, "health": names.ENVOY_HEALTH_PORT}
    alive = {"path": "/healthz", "port": names.ENVOY_HEALTH_PORT}
    ready = {"path": "/healthz", "port": names.ROUTER_PORT}
    return _container(deployment, "envoy", ports) | {
        "livenessProbe": _liveness(alive),
        "readinessProbe": _readiness(ready),
        "resources": _requests(deployment.spec.router.resources),
    }


def _picker(deployment: LLMDeployment) -> Object:
    spec = deployment.spec.router
    container = _container(deployment, "picker", {"picker": names.PICKER_PORT} | _asked_at(spec))
    container["args"].append(f"--tenants-file={CONFIG_PATH}/{TENANTS_FILE}")
    if spec.auth:
        container["args"].append(f"--keys-dir={KEYS_PATH}")
        container["volumeMounts"].append({"name": "keys", "mountPath": KEYS_PATH, "readOnly": True})
    if spec.mode == "inference-pool":
        container["volumeMounts"].append({"name": "epp-tls", "mountPath": EPP_TLS_PATH, "readOnly": True})
    memory = parse_quantity(PICKER_MEMORY) + (parse_quantity(spec.cache.size) if spec.cache else 0)
    return container | {
        "livenessProbe": _liveness({"path": "/livez", "port": names.PICKER_PORT}),
        "readinessProbe": _readiness({"path": "/readyz", "port": names.PICKER_PORT}),
        "resources": {"requests": {"cpu": PICKER_CPU, "memory": format_bytes(int(memory))}},
    }


def _asked_at(spec: RouterSpec) -> dict[str, int]:
    """Return the ports that a gateway asks the picker at; Envoy needs none."""
    if spec.mode == "inference-pool":
        return {"ext-proc": names.EXT_PROC_PORT, "ext-proc-plain": names.EXT_PROC_PLAIN_PORT}
    return {}


def _container(deployment: LLMDeployment, role: str, ports: dict[str, int]) -> Object:
    return {
        "name": role,
        "image": deployment.spec.router.image,
        "command": ["manta-runtime", "router", role],
        "args": [f"--config={CONFIG_PATH}/{CONFIG_FILE}", "--pod-ip=$(POD_IP)", f"--run-dir={RUN_PATH}"],
        "env": [{"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}],
        "ports": [{"name": name, "containerPort": number} for name, number in ports.items()],
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [
            {"name": "config", "mountPath": CONFIG_PATH, "readOnly": True},
            {"name": "run", "mountPath": RUN_PATH},
            {"name": "tmp", "mountPath": TMP_PATH},
        ],
    }


def _liveness(action: Object) -> Object:
    return {"httpGet": action, "initialDelaySeconds": 10, "periodSeconds": 10, "timeoutSeconds": 5}


def _readiness(action: Object) -> Object:
    return {"httpGet": action, "periodSeconds": 2, "timeoutSeconds": 5}


def _requests(resources: Resources) -> Object:
    requests = resources.model_dump(exclude_none=True)
    return {"requests": requests} if requests else {}
