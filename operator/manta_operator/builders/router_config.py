"""Builders of the router's ConfigMaps: one of router.yaml, one of tenants.yaml. Pure.

router.yaml is parsed by `manta_runtime.router.config`; a contract test holds both sides equal, field by field. Its hash
is in the name of its ConfigMap: a change makes another one and new router pods, and those of before keep theirs, with
what their image understands, however often they restart. It is pruned when no pod has it any more.

tenants.yaml is read again when it changes: limits are changed while requests run.
"""

import hashlib
from typing import Any

import yaml

from manta_operator.api import names
from manta_operator.api.models import CacheSpec, LLMDeployment
from manta_operator.api.quantity import parse_quantity
from manta_operator.builders.engine_args import served_names
from manta_operator.builders.metadata import metadata, router_workload, selector

Object = dict[str, Any]

CONFIG_FILE = "router.yaml"
TENANTS_FILE = "tenants.yaml"


def router_config(deployment: LLMDeployment) -> Object:
    """Return the ConfigMap of router.yaml, which pods of exactly this configuration read."""
    text = _text(_router(deployment))
    return _config_map(deployment, hashlib.sha256(text.encode()).hexdigest()[:8], CONFIG_FILE, text)


def router_tenants(deployment: LLMDeployment) -> Object:
    """Return the ConfigMap of tenants.yaml, which all router pods of the mode read."""
    return _config_map(deployment, "tenants", TENANTS_FILE, _text(_tenants(deployment)))


def _config_map(deployment: LLMDeployment, suffix: str, file: str, text: str) -> Object:
    name = f"{router_workload(deployment)}-{suffix}"
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata(deployment, name, names.COMPONENT_ROUTER),
        "data": {file: text},
    }


def _router(deployment: LLMDeployment) -> Object:
    spec = deployment.spec.router
    engines = selector(deployment, names.COMPONENT_ENGINE) | {names.LABEL_POD_INDEX: "0"}
    return {
        "deployment": deployment.name,
        "namespace": deployment.namespace,
        "servedNames": list(served_names(deployment)),
        "mode": spec.mode,
        "listenPort": names.ROUTER_PORT,
        "pickerPort": names.PICKER_PORT,
        "healthPort": names.ENVOY_HEALTH_PORT,
        "extProcPort": names.EXT_PROC_PORT,
        "enginePort": names.ENGINE_PORT,
        "selector": _labels(engines),
        "routerSelector": _labels(selector(deployment, names.COMPONENT_ROUTER)),
        "policy": spec.policy,
        "sessionHeader": spec.session.header,
        "maxNumSeqs": deployment.spec.engine.max_num_seqs,
        "hold": spec.hold.model_dump(by_alias=True) | _waking(deployment),
        "auth": spec.auth is not None,
        "cache": _cache(spec.cache) if spec.cache else None,
        "timeouts": spec.timeouts.model_dump(by_alias=True),
        "retries": spec.retries,
        "tracing": spec.tracing.model_dump(by_alias=True) if spec.tracing else None,
        "drainSeconds": deployment.spec.rollout.drain_seconds,
    }


def _waking(deployment: LLMDeployment) -> Object:
    """Return how long requests wait for the first replica; nothing for deployments that always have one."""
    autoscaling = deployment.spec.autoscaling
    if autoscaling is None or autoscaling.min_replicas:
        return {}
    return {"wakeSeconds": autoscaling.scale_to_zero.hold_seconds}


def longest_hold(deployment: LLMDeployment) -> int:
    """Return the seconds that a router holds a request at most: for a replica to start, and then for room there."""
    seconds = deployment.spec.router.hold.seconds
    waking = _waking(deployment).get("wakeSeconds")
    return seconds if waking is None else max(waking, seconds) + seconds


def _tenants(deployment: LLMDeployment) -> Object:
    tenants = deployment.spec.router.tenants
    return {"tenants": [tenant.model_dump(mode="json", by_alias=True, exclude_none=True) for tenant in tenants]}


def _cache(cache: CacheSpec) -> Object:
    return {"maxBytes": int(parse_quantity(cache.size)), "ttlSeconds": cache.ttl_seconds}


def _labels(wanted: dict[str, str]) -> str:
    return ",".join(f"{label}={value}" for label, value in wanted.items())


def _text(document: Object) -> str:
    return yaml.dump(document, Dumper=yaml.CSafeDumper, sort_keys=False)
