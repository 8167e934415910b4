"""The engine's pod template: one for all pods of a group, since rank 0 finds out that it is the head. Pure.

The template is what a revision is made of: `template_hash` names it, and a changed hash is a rollout.
"""

import hashlib
import json
from typing import Any

from manta_operator.api import names
from manta_operator.api.models import LLMDeployment
from manta_operator.builders import adapters
from manta_operator.builders.draft_model import draft_source, once
from manta_operator.builders.engine_args import COMMAND, launcher_args, vllm_args
from manta_operator.builders.fetching import init_containers
from manta_operator.builders.model_source import model_source
from manta_operator.builders.overlay import overlay
from manta_operator.builders.scheduling import scheduling
from manta_operator.facts.accelerators import PRODUCT_LABEL, Accelerator
from manta_operator.planning.search import Choice

Object = dict[str, Any]

CPU_REQUEST = "MANTA_CPU_REQUEST"
USER = 1000
"""User and group of the engine, as in the runtime's image."""
STATE_PATH = "/mnt/state"
"""What outlives the container and not the pod: the launcher counts its restarts there."""
_STATE_MOUNT = {"name": "state", "mountPath": STATE_PATH}
END_MARGIN_SECONDS = 30
"""Grace beyond the drain: the router looks away, vLLM and Ray end."""


def engine_template(deployment: LLMDeployment, choice: Choice, accelerator: Accelerator) -> Object:
    """Return the pod template without what differs between groups (see `statefulset`)."""
    spec = deployment.spec
    sources = [source for source in (model_source(spec), draft_source(spec)) if source]
    beside = adapters.parts(deployment, _STATE_MOUNT)
    brought = [volume for source in sources for volume in source.volumes]
    volumes = once([*brought, {"name": "state", "emptyDir": {}}, *beside.volumes], "name")
    if choice.shape.ranks > 1:  # NCCL and Ray exchange through it; the default of 64 MiB is too small
        volumes.append({"name": "shm", "emptyDir": {"medium": "Memory"}})
    pod: Object = {
        "automountServiceAccountToken": False,
        "containers": [_container(deployment, choice, accelerator, beside), *beside.containers],
        # Of a Service named "vllm" Kubernetes would make VLLM_PORT=tcp://…, which vLLM takes for its own setting.
        "enableServiceLinks": False,
        "securityContext": {
            "fsGroup": USER,
            # Else every start of a pod walks through all files of a large cache.
            "fsGroupChangePolicy": "OnRootMismatch",
            "runAsNonRoot": True,
            "runAsUser": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "terminationGracePeriodSeconds": spec.rollout.drain_seconds + END_MARGIN_SECONDS,
        "volumes": volumes,
    } | _scheduling(deployment, accelerator)
    requests = _resources(deployment, choice, accelerator).get("requests", {})
    if before := init_containers(deployment, requests, USER):
        pod["initContainers"] = before
    if secrets := [{"name": source.pull_secret} for source in sources if source.pull_secret]:
        pod["imagePullSecrets"] = once(secrets, "name")
    template = {
        "metadata": {"labels": names.common_labels(deployment.name, names.COMPONENT_ENGINE)},
        "spec": pod,
    }
    return overlay(template, spec.pod_template)


def template_hash(template: Object) -> str:
    """Return eight hexadecimal digits that change when anything in the template does."""
    return hashlib.sha256(json.dumps(template, sort_keys=True).encode()).hexdigest()[:8]


def _container(deployment: LLMDeployment, choice: Choice, accelerator: Accelerator, beside: adapters.Parts) -> Object:
    spec = deployment.spec
    draft = draft_source(spec)
    weights = [*model_source(spec).mounts, *(draft.mounts if draft else ())]
    mounts = once([*weights, _STATE_MOUNT, *beside.mounts], "mountPath")
    if choice.shape.ranks > 1:
        mounts.append({"name": "shm", "mountPath": "/dev/shm"})  # noqa: S108 - the engine's, not ours
    return {
        "name": "engine",
        "image": spec.engine.image,
        "command": COMMAND,
        "args": [
            *launcher_args(deployment, choice.shape, accelerator),
            "--",
            *vllm_args(deployment, choice.shape, accelerator),
        ],
        "env": [
            *_identity(),
            *_group_token(deployment, choice),
            *_cpu_request(deployment),
            *beside.env,
            # An object from before the rule may have one of them, too: a name twice is refused.
            *(var.model_dump(exclude_none=True) for var in spec.engine.env if var.name not in beside.names),
        ],
        "ports": [
            {"name": "http", "containerPort": names.ENGINE_PORT},
            {"name": "control", "containerPort": names.CONTROL_PORT},
        ],
        "resources": _resources(deployment, choice, accelerator),
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": mounts,
    } | _probes()


def _identity() -> list[Object]:
    """Return the environment that tells a pod who it is in its group, where to keep notes; groups add GROUP_HEAD."""
    fields = {
        "POD_IP": "status.podIP",
        "POD_NAME": "metadata.name",
        "POD_NAMESPACE": "metadata.namespace",
        "GROUP_RANK": f"metadata.labels['{names.LABEL_POD_INDEX}']",
    }
    told = [{"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}} for name, path in fields.items()]
    return [*told, {"name": "MANTA_STATE", "value": STATE_PATH}]


def _group_token(deployment: LLMDeployment, choice: Choice) -> list[Object]:
    """Return what proves to the head that a pod is of its group; a group of one needs no proof."""
    if choice.shape.pods == 1:
        return []
    reference = {"name": names.group_secret_name(deployment.name), "key": "token"}
    return [{"name": "GROUP_TOKEN", "valueFrom": {"secretKeyRef": reference}}]


def _cpu_request(deployment: LLMDeployment) -> list[Object]:
    """Return how many threads the engine may use on CPU, in whole cores; a value in spec.engine.env wins."""
    engine = deployment.spec.engine
    if engine.resources.cpu is None or any(var.name == CPU_REQUEST for var in engine.env):
        return []
    return [{"name": CPU_REQUEST, "valueFrom": {"resourceFieldRef": {"resource": "requests.cpu"}}}]


def _probes() -> Object:
    """Return the three probes. The launcher answers at once, so only its readiness says that the model serves."""
    alive = {"path": "/healthz", "port": names.CONTROL_PORT}
    ready = {"path": "/readyz", "port": names.CONTROL_PORT}
    # A launcher that has not answered for a minute is frozen: it would drain nothing, however long it is given.
    frozen = {"failureThreshold": 6, "terminationGracePeriodSeconds": 10}
    return {
        "startupProbe": {"httpGet": alive, "periodSeconds": 2, "timeoutSeconds": 5, "failureThreshold": 60},
        "livenessProbe": {"httpGet": alive, "periodSeconds": 10, "timeoutSeconds": 5, **frozen},
        "readinessProbe": {"httpGet": ready, "periodSeconds": 2, "timeoutSeconds": 5, "failureThreshold": 2},
    }


def _resources(deployment: LLMDeployment, choice: Choice, accelerator: Accelerator) -> Object:
    asked = deployment.spec.engine.resources
    memory = asked.memory or (str(choice.fit.memory_per_pod) if choice.fit.memory_per_pod else None)
    requests = {name: value for name, value in (("cpu", asked.cpu), ("memory", memory)) if value}
    result: Object = {"requests": requests} if requests else {}
    if accelerator.resource:
        result["limits"] = {accelerator.resource: str(choice.shape.per_pod)}
    return result


def _scheduling(deployment: LLMDeployment, accelerator: Accelerator) -> Object:
    said = scheduling(deployment.spec.scheduling)
    if accelerator.products and "nodeSelector" not in said:
        said["affinity"] = _on_products(accelerator.products)
    return said


def _on_products(products: tuple[str, ...]) -> Object:
    """Return the affinity to nodes with one of these devices. Who selects nodes by hand is not held to our list."""
    wanted = {"key": PRODUCT_LABEL, "operator": "In", "values": list(products)}
    terms = {"nodeSelectorTerms": [{"matchExpressions": [wanted]}]}
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}}
