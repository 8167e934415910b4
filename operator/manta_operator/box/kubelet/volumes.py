"""Volumes of a pod as folders of this machine.

`pod_worker.py` prepares them before any container starts, and writes ConfigMaps and Secrets again when they change;
`sandbox.py` rewrites mount paths to them. `readOnly` is not enforced.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from manta_operator.box.cluster import Cluster, Object
from manta_operator.box.kubelet.account import account_token
from manta_operator.box.kubelet.atomic_files import write_files
from manta_operator.box.kubelet.config import NodeConfig
from manta_operator.box.kubelet.projections import (
    Files,
    VolumeError,
    config_files,
    downward_files,
    projected_files,
    sources,
)


def prepare_volumes(cluster: Cluster, config: NodeConfig, pod: Object, folder: Path) -> dict[str, Path]:
    """Make every volume of the pod; name → folder (or file, for a hostPath). VolumeError names the one that fails."""
    volumes: dict[str, Path] = {}
    for volume in pod["spec"].get("volumes") or ():
        name = volume["name"]
        try:
            volumes[name] = _prepare(cluster, config, pod, volume, folder / name)
        except VolumeError as error:
            raise VolumeError(f"volume {name!r}: {error}") from error
        except OSError as error:
            raise VolumeError(f"volume {name!r}: {error.strerror}: {error.filename}") from error
    return volumes


def refresh_volumes(cluster: Cluster, config: NodeConfig, pod: Object, folder: Path, changed: tuple[str, str]) -> None:
    """Write the volumes again that show the ConfigMap or Secret of that kind and name, in the `folder` of before.

    Raises:
        VolumeError: One can no longer be had. It stays as it was, and the pod goes on with it.
    """
    for volume in pod["spec"].get("volumes") or ():
        if changed in sources(volume):
            _prepare(cluster, config, pod, volume, folder / volume["name"])


def _prepare(cluster: Cluster, config: NodeConfig, pod: Object, volume: Mapping[str, Any], folder: Path) -> Path:
    namespace = pod["metadata"]["namespace"]
    kind = next((key for key in volume if key != "name"), "emptyDir")
    source = volume.get(kind) or {}
    match kind:
        case "emptyDir":
            folder.mkdir(parents=True, exist_ok=True)
            return folder
        case "configMap":
            return _write(config_files(cluster, "ConfigMap", namespace, source, source["name"]), folder)
        case "secret":
            return _write(config_files(cluster, "Secret", namespace, source, source["secretName"]), folder)
        case "downwardAPI":
            return _write(downward_files(pod, source), folder)
        case "projected":
            return _write(projected_files(cluster, pod, source, lambda: account_token(config, pod)), folder)
        case "hostPath":
            return _host_path(config.host_paths, source)
        case "persistentVolumeClaim":
            return _claim(cluster, config, namespace, source["claimName"])
        case "image":
            raise VolumeError("the box runs processes and mounts no images: unpack it into a folder, use a file:// uri")
    raise VolumeError(f"type {kind} is not supported by the box (it has emptyDir, configMap, secret, hostPath …)")


def _write(files: Files, folder: Path) -> Path:
    write_files(files, folder)
    return folder


def _host_path(mapped: Mapping[str, Path], source: Mapping[str, Any]) -> Path:
    wanted = Path(source["path"])
    path = map_host_path(wanted, mapped)
    type_ = source.get("type") or ""
    if type_ == "DirectoryOrCreate":
        path.mkdir(parents=True, exist_ok=True)
    elif type_ == "FileOrCreate":
        path.touch(exist_ok=True)
    remedy = f"create it, or map it to a folder of yours: manta up --map {wanted}=FOLDER"
    shown = f"hostPath {wanted}" if path == wanted else f"hostPath {wanted} (mapped to {path})"
    if not path.exists():
        raise VolumeError(f"{shown} does not exist on this machine: {remedy}")
    if type_ == "Directory" and not path.is_dir():
        raise VolumeError(f"{shown} is not a directory: {remedy}")
    if type_ == "File" and not path.is_file():
        raise VolumeError(f"{shown} is not a file: {remedy}")
    return path


def map_host_path(path: Path, mapped: Mapping[str, Path]) -> Path:
    """The real place of a hostPath: the longest mapped prefix wins, whole names only."""
    for prefix in sorted(mapped, key=len, reverse=True):
        if path.is_relative_to(prefix):
            return mapped[prefix] / path.relative_to(prefix)
    return path


def _claim(cluster: Cluster, config: NodeConfig, namespace: str, claim: str) -> Path:
    if cluster.find("PersistentVolumeClaim", namespace, claim) is None:
        raise VolumeError(f"PersistentVolumeClaim {namespace}/{claim} does not exist: create it")
    folder = config.state / "claims" / namespace / claim
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def mount_table(container: Object, volumes: Mapping[str, Path]) -> dict[str, str]:
    """Mount path → real path for one container, subPath included (made if it is missing, as Kubernetes does)."""
    table: dict[str, str] = {}
    for mount in container.get("volumeMounts") or ():
        if mount["name"] not in volumes:
            raise VolumeError(f"container {container['name']!r} mounts volume {mount['name']!r}, which the pod lacks")
        real = volumes[mount["name"]]
        if sub := mount.get("subPath"):
            real = real / sub
            if ".." in Path(sub).parts:
                raise VolumeError(f"subPath {sub!r} must not contain '..'")
            if not real.exists():
                real.mkdir(parents=True)
        table[mount["mountPath"]] = str(real)
    return table
