"""Builders of mode inference-pool: a gateway with the Inference Extension moves the bytes and asks our picker. Pure.

    client → Gateway → HTTPRoute → InferencePool → (endpoint picker: which pod?) → head of a replica

The kinds are optional, like the others of `integrations`; docs/inference-extension.md says which gateways expect what.
"""

from typing import Any

from manta_operator.api import names
from manta_operator.api.models import LLMDeployment
from manta_operator.builders.integrations import http_route
from manta_operator.builders.metadata import metadata, selector
from manta_operator.builders.router import router_deployment
from manta_operator.planning.integrations import INFERENCE_POOL

Object = dict[str, Any]

# Families of the API that clients may use, as the runtime's router/routes.py knows them. The picker refuses all else,
# but while it is away (FailOpen) the route is the only gate: /v1/load_lora_adapter must never pass.
FAMILIES = (
    "audio", "chat", "completions", "embeddings", "messages", "models", "rerank", "responses", "score",
)  # fmt: skip


def inference_pool_objects(deployment: LLMDeployment, config: Object) -> list[Object]:
    """Return what takes the place of router Deployment, Service and HTTPRoute, in the order to apply it.

    Args:
        deployment: What is asked for.
        config: The ConfigMap of `router_config`.
    """
    objects = [epp_service(deployment), router_deployment(deployment, config), inference_pool(deployment)]
    if deployment.spec.gateway.parent_refs:
        objects.append(pool_route(deployment))
    return objects


def epp_service(deployment: LLMDeployment) -> Object:
    """Return the Service by which gateways find the picker: TLS, and plaintext for meshes that encrypt themselves."""
    ports = {"ext-proc": names.EXT_PROC_PORT, "ext-proc-plain": names.EXT_PROC_PLAIN_PORT}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(deployment, names.epp_name(deployment.name), names.COMPONENT_ROUTER),
        "spec": {
            "ports": [
                {"name": name, "port": number, "targetPort": name, "appProtocol": "http2"}
                for name, number in ports.items()
            ],
            "selector": selector(deployment, names.COMPONENT_ROUTER),
            "type": "ClusterIP",
        },
    }


def inference_pool(deployment: LLMDeployment) -> Object:
    """Return the InferencePool: the heads of all replicas, and who picks among them.

    Without the picker a gateway goes on by itself (FailOpen), unless clients need keys, which only the picker knows.
    """
    heads = selector(deployment, names.COMPONENT_ENGINE) | {names.LABEL_POD_INDEX: "0"}
    picker = {
        "name": names.epp_name(deployment.name),
        "port": {"number": names.EXT_PROC_PORT},
        "failureMode": "FailClose" if deployment.spec.router.auth else "FailOpen",
    }
    return {
        "apiVersion": INFERENCE_POOL.api_version,
        "kind": INFERENCE_POOL.kind,
        "metadata": metadata(deployment, deployment.name, names.COMPONENT_ROUTER),
        "spec": {
            "selector": {"matchLabels": heads},
            "targetPorts": [{"number": names.ENGINE_PORT}],
            "endpointPickerRef": picker,
        },
    }


def pool_route(deployment: LLMDeployment) -> Object:
    """Return the HTTPRoute to the pool: the families of the API, one by one."""
    route = http_route(deployment)
    (rule,) = route["spec"]["rules"]
    group = INFERENCE_POOL.api_version.partition("/")[0]
    rule["matches"] = [{"path": {"type": "PathPrefix", "value": f"/v1/{family}"}} for family in FAMILIES]
    rule["backendRefs"] = [{"group": group, "kind": INFERENCE_POOL.kind, "name": deployment.name}]
    return route
