"""What files a ConfigMap, Secret, downward API or projected volume holds. Reads the cluster, writes nothing."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from manta_operator.box.cluster import Cluster, Object
from manta_operator.box.kubelet.env import read_data
from manta_operator.box.kubelet.fields import field_value, resource_value

_DEFAULT_MODE = 0o644


class VolumeError(Exception):
    """A volume cannot be had now; the message says which, why, and what to do."""


@dataclass(frozen=True)
class File:
    """One file of a volume."""

    data: bytes
    mode: int = _DEFAULT_MODE


Files = dict[str, File]


def config_files(cluster: Cluster, kind: str, namespace: str, source: Mapping[str, Any], name: str) -> Files:
    """Files of ConfigMap or Secret `name`: all its keys, or `items` only. VolumeError if something is missing."""
    data = read_data(cluster, kind, namespace, name)
    optional = bool(source.get("optional"))
    if data is None and not optional:
        raise VolumeError(f"{kind} {namespace}/{name} does not exist: create it, the pod then goes on by itself")
    default = int(source.get("defaultMode") or _DEFAULT_MODE)
    if not source.get("items"):
        return {key: File(value, default) for key, value in (data or {}).items()}
    files: Files = {}
    for item in source["items"]:
        if item["key"] in (data or {}):
            files[item["path"]] = File((data or {})[item["key"]], int(item.get("mode") or default))
        elif not optional:
            raise VolumeError(f"{kind} {namespace}/{name} has no key {item['key']!r}: add it")
    return files


def sources(volume: Mapping[str, Any]) -> set[tuple[str, str]]:
    """Return kind and name of the ConfigMaps and Secrets that a volume shows."""
    parts = [volume, *((volume.get("projected") or {}).get("sources") or ())]
    maps = {("ConfigMap", part["configMap"]["name"]) for part in parts if part.get("configMap")}
    of_volume = {("Secret", part["secret"]["secretName"]) for part in parts[:1] if part.get("secret")}
    return maps | of_volume | {("Secret", part["secret"]["name"]) for part in parts[1:] if part.get("secret")}


def downward_files(pod: Object, source: Mapping[str, Any]) -> Files:
    """Files of a downwardAPI source."""
    default = int(source.get("defaultMode") or _DEFAULT_MODE)
    files: Files = {}
    for item in source.get("items") or ():
        if "fieldRef" in item:
            value = field_value(pod, item["fieldRef"]["fieldPath"])
        else:
            ref = item["resourceFieldRef"]
            container = next(c for c in pod["spec"]["containers"] if c["name"] == ref.get("containerName"))
            value = resource_value(container, ref)
        files[item["path"]] = File(value.encode(), int(item.get("mode") or default))
    return files


def projected_files(cluster: Cluster, pod: Object, source: Mapping[str, Any], token: Callable[[], str]) -> Files:
    """Files of a projected volume; later sources win. VolumeError for a source the box does not know."""
    namespace = pod["metadata"]["namespace"]
    mode = source.get("defaultMode") or _DEFAULT_MODE
    files: Files = {}
    for part in source.get("sources") or ():
        for kind, body in part.items():
            with_mode = {"defaultMode": mode, **body}
            if kind in ("configMap", "secret"):
                object_kind = "ConfigMap" if kind == "configMap" else "Secret"
                files |= config_files(cluster, object_kind, namespace, with_mode, body["name"])
            elif kind == "downwardAPI":
                files |= downward_files(pod, with_mode)
            elif kind == "serviceAccountToken":
                files[body["path"]] = File(token().encode(), 0o600)
            else:
                raise VolumeError(f"projected source {kind} is not supported by the box")
    return files
