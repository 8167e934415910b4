"""A container's own environment, from `env` and `envFrom`. Pure but for reading ConfigMaps and Secrets."""

import base64
from collections.abc import Mapping
from typing import Any

from manta_operator.box.cluster import Cluster, Object
from manta_operator.box.kubelet.config import StartError
from manta_operator.box.kubelet.expand import expand
from manta_operator.box.kubelet.fields import field_value, resource_value
from manta_operator.box.kubelet.paths import rewrite

_CONFIG_ERROR = "CreateContainerConfigError"


def read_data(cluster: Cluster, kind: str, namespace: str, name: str) -> dict[str, bytes] | None:
    """Contents of a ConfigMap or Secret by key; None if there is no such object."""
    found = cluster.find(kind, namespace, name)
    if found is None:
        return None
    if kind == "Secret":
        return _decoded(found.get("data"))
    text = {key: str(value).encode() for key, value in (found.get("data") or {}).items()}
    return {**text, **_decoded(found.get("binaryData"))}


def _decoded(data: Mapping[str, str] | None) -> dict[str, bytes]:
    return {key: base64.b64decode(value) for key, value in (data or {}).items()}


def container_env(
    cluster: Cluster, pod: Object, container: Object, given: Mapping[str, str], mounts: Mapping[str, str]
) -> dict[str, str]:
    """The variables the pod asks for, in order, mount paths rewritten; `$(VAR)` sees those before it and `given`.

    Raises StartError (CreateContainerConfigError) for a ConfigMap, Secret or key that is missing and not optional.
    """
    namespace = pod["metadata"]["namespace"]
    env: dict[str, str] = {}
    for source in container.get("envFrom") or ():
        found = _env_from(cluster, namespace, source)
        env.update({name: rewrite(value, mounts) for name, value in found.items()})
    for item in container.get("env") or ():
        if "valueFrom" in item:
            value = _value_from(cluster, pod, container, item["valueFrom"])
            if value is not None:
                env[item["name"]] = rewrite(value, mounts)
        else:
            # Rewritten before it is expanded: what it refers to is rewritten already.
            env[item["name"]] = expand(rewrite(str(item.get("value") or ""), mounts), {**given, **env})
    return env


def _env_from(cluster: Cluster, namespace: str, source: Mapping[str, Any]) -> dict[str, str]:
    for key, kind in (("configMapRef", "ConfigMap"), ("secretRef", "Secret")):
        if key in source:
            ref = source[key]
            data = read_data(cluster, kind, namespace, ref["name"])
            if data is None and not ref.get("optional"):
                raise StartError(_CONFIG_ERROR, f"envFrom: {kind} {namespace}/{ref['name']} does not exist: create it")
            prefix = source.get("prefix") or ""
            return {prefix + name: value.decode(errors="replace") for name, value in (data or {}).items()}
    return {}


def _value_from(cluster: Cluster, pod: Object, container: Object, source: Mapping[str, Any]) -> str | None:
    if "fieldRef" in source:
        return field_value(pod, source["fieldRef"]["fieldPath"])
    if "resourceFieldRef" in source:
        return resource_value(container, source["resourceFieldRef"])
    for key, kind in (("configMapKeyRef", "ConfigMap"), ("secretKeyRef", "Secret")):
        if key in source:
            return _key(cluster, kind, pod["metadata"]["namespace"], source[key])
    raise StartError(_CONFIG_ERROR, f"env valueFrom with {', '.join(source)} is not supported by the box")


def _key(cluster: Cluster, kind: str, namespace: str, ref: Mapping[str, Any]) -> str | None:
    data = read_data(cluster, kind, namespace, ref["name"])
    if data is not None and ref["key"] in data:
        return data[ref["key"]].decode(errors="replace")
    if ref.get("optional"):
        return None
    missing = "does not exist: create it" if data is None else f"has no key {ref['key']!r}: add it"
    raise StartError(_CONFIG_ERROR, f"{kind} {namespace}/{ref['name']} {missing}")
