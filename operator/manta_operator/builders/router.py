"""Builders of the router: Deployment (Envoy and the endpoint picker in one pod), Service and ConfigMap. Pure."""

import hashlib
from typing import Any

import yaml

from manta_operator.api import names
from manta_operator.api.models import LLMDeployment, Resources
from manta_operator.builders.engine_args import served_names
from manta_operator.builders.engine_pod import END_MARGIN_SECONDS
from manta_operator.builders.metadata import metadata, selector
from manta_operator.builders.scheduling import scheduling

Object = dict[str, Any]

CONFIG_PATH = "/etc/manta/router"
CONFIG_FILE = "router.yaml"
CONFIG_HASH = "manta.dev/config-hash"
PICKER_RESOURCES: Object = {"requests": {"cpu": "100m", "memory": "128Mi"}}


def router_config(deployment: LLMDeployment) -> Object:
    """Return the ConfigMap both containers of the router read."""
    engines = selector(deployment, names.COMPONENT_ENGINE) | {names.LABEL_POD_INDEX: "0"}
    config = {
        "deployment": deployment.name,
        "namespace": deployment.namespace,
        "servedNames": list(served_names(deployment)),
        "listenPort": names.ROUTER_PORT,
        "pickerPort": names.PICKER_PORT,
        "healthPort": names.ENVOY_HEALTH_PORT,
        "accessLogPort": names.ACCESS_LOG_PORT,
        "enginePort": names.ENGINE_PORT,
        "policy": deployment.spec.router.policy,
        "selector": ",".join(f"{label}={value}" for label, value in engines.items()),
        "drainSeconds": deployment.spec.rollout.drain_seconds,
    }
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata(deployment, names.router_name(deployment.name), names.COMPONENT_ROUTER),
        "data": {CONFIG_FILE: yaml.dump(config, Dumper=yaml.CSafeDumper, sort_keys=False)},
    }


def router_service(deployment: LLMDeployment) -> Object:
    """Return the load-balancing Service clients talk to; it has the name of the LLMDeployment."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(deployment, deployment.name, names.COMPONENT_ROUTER),
        "spec": {
            "ports": [{"name": "http", "port": deployment.spec.router.port, "targetPort": "http"}],
            "selector": selector(deployment, names.COMPONENT_ROUTER),
            "type": "ClusterIP",
        },
    }


def router_deployment(deployment: LLMDeployment, config: Object) -> Object:
    """Return the router's Deployment. A changed `config` restarts its pods one by one, never below the asked number."""
    labels = selector(deployment, names.COMPONENT_ROUTER)
    digest = hashlib.sha256(config["data"][CONFIG_FILE].encode()).hexdigest()[:8]
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata(deployment, names.router_name(deployment.name), names.COMPONENT_ROUTER),
        "spec": {
            "replicas": deployment.spec.router.replicas,
            "selector": {"matchLabels": labels},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
            "template": {
                "metadata": {
                    "annotations": {CONFIG_HASH: digest},
                    "labels": names.common_labels(deployment.name, names.COMPONENT_ROUTER),
                },
                "spec": _pod(deployment),
            },
        },
    }


def _pod(deployment: LLMDeployment) -> Object:
    name = names.router_name(deployment.name)
    spread = {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": selector(deployment, names.COMPONENT_ROUTER)},
    }
    return {
        "containers": [_envoy(deployment), _picker(deployment)],
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 1000,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "serviceAccountName": name,
        "terminationGracePeriodSeconds": deployment.spec.rollout.drain_seconds + END_MARGIN_SECONDS,
        "topologySpreadConstraints": [spread],
        "volumes": [{"name": "config", "configMap": {"name": name}}],
    } | scheduling(deployment.spec.router.scheduling)


def _envoy(deployment: LLMDeployment) -> Object:
    """Return Envoy's container. It is alive by its launcher's word: the traffic port refuses connections at its cap."""
    ports = {"http": names.ROUTER_PORT, "health": names.ENVOY_HEALTH_PORT}
    alive = {"path": "/healthz", "port": names.ENVOY_HEALTH_PORT}
    ready = {"path": "/healthz", "port": names.ROUTER_PORT}
    return _container(deployment, "envoy", ports) | {
        "livenessProbe": {"httpGet": alive, "initialDelaySeconds": 10, "periodSeconds": 10, "timeoutSeconds": 5},
        "readinessProbe": {"httpGet": ready, "periodSeconds": 2, "timeoutSeconds": 5},
        "resources": _requests(deployment.spec.router.resources),
    }


def _picker(deployment: LLMDeployment) -> Object:
    probe = {
        "httpGet": {"path": "/readyz", "port": names.PICKER_PORT},
        "periodSeconds": 2,
        "timeoutSeconds": 5,
    }
    ports = {"picker": names.PICKER_PORT, "access-log": names.ACCESS_LOG_PORT}
    return _container(deployment, "picker", ports) | {"readinessProbe": probe, "resources": PICKER_RESOURCES}


def _container(deployment: LLMDeployment, role: str, ports: dict[str, int]) -> Object:
    return {
        "name": role,
        "image": deployment.spec.router.image,
        "command": ["manta-runtime", "router", role],
        "args": [f"--config={CONFIG_PATH}/{CONFIG_FILE}", "--pod-ip=$(POD_IP)"],
        "env": [{"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}],
        "ports": [{"name": name, "containerPort": number} for name, number in ports.items()],
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [{"name": "config", "mountPath": CONFIG_PATH, "readOnly": True}],
    }


def _requests(resources: Resources) -> Object:
    requests = resources.model_dump(exclude_none=True)
    return {"requests": requests} if requests else {}
