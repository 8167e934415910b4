"""Which cluster is meant, and as whom: the kubeconfig rules of kubectl. Files in, one small kubeconfig out; no network.

Of several files the first to name a context, cluster, user or current-context wins, as with kubectl; the kubernetes
package lets the last current-context win and reads one file at a time as it likes, so it is given our result instead.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

Object = dict[str, Any]
SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_SECTIONS = {"clusters": "cluster", "users": "user", "contexts": "context"}
_FILES = {"cluster": ("certificate-authority",), "user": ("client-certificate", "client-key", "tokenFile")}


class NoCluster(ValueError):
    """No cluster can be made out; the message says why, and what to do."""


@dataclass(frozen=True)
class Target:
    """One cluster and one user of it.

    `kubeconfig` has this one context and absolute paths; `namespace` is the context's, which commands work in unless
    told otherwise; `inside` tells that this process is a pod of that very cluster.
    """

    title: str
    server: str
    namespace: str
    kubeconfig: Mapping[str, Any]
    inside: bool = False
    box: bool = False


def from_files(paths: Iterable[Path], context: str | None = None) -> Target | None:
    """Return what kubectl would use; None if the files, those that exist, name no context at all.

    Args:
        paths: In the order of KUBECONFIG; missing ones are passed over.
        context: Instead of current-context.

    Raises:
        NoCluster: a file is unreadable, or the context, its cluster or its user is not in them.
    """
    merged = _merge(paths)
    if not merged["contexts"] and context is None:
        return None
    chosen = context or merged["current-context"]
    known = ", ".join(sorted(merged["contexts"])) or "none"
    if not chosen:
        raise NoCluster(f"the kubeconfig sets no current-context; choose one with --context (there is: {known})")
    entry = merged["contexts"].get(chosen)
    if entry is None:
        raise NoCluster(f"the kubeconfig has no context {chosen}; use one of: {known}")
    cluster = merged["clusters"].get(entry.get("cluster"))
    if not cluster or not cluster.get("server"):
        raise NoCluster(f"context {chosen} names cluster {entry.get('cluster')}, which has no server in the kubeconfig")
    user = merged["users"].get(entry.get("user"))
    if entry.get("user") and user is None:
        raise NoCluster(f"context {chosen} names user {entry['user']}, who is not in the kubeconfig")
    namespace = entry.get("namespace") or "default"
    return Target(f"context {chosen}", cluster["server"], namespace, _single(cluster, user or {}))


def inside(env: Mapping[str, str], folder: Path = SERVICE_ACCOUNT) -> Target | None:
    """Return the cluster of the pod that this process runs in; None if it runs in none."""
    host, port = env.get("KUBERNETES_SERVICE_HOST"), env.get("KUBERNETES_SERVICE_PORT")
    if not host or not port or not (folder / "token").is_file():
        return None
    server = f"https://{f'[{host}]' if ':' in host else host}:{port}"
    cluster = {"server": server, "certificate-authority": str(folder / "ca.crt")}
    namespace = (folder / "namespace").read_text().strip() if (folder / "namespace").is_file() else "default"
    title = "the cluster of this pod"
    return Target(title, server, namespace, _single(cluster, {"tokenFile": str(folder / "token")}), inside=True)


def search_path(env: Mapping[str, str], home: Path) -> list[Path]:
    """Return the files kubectl reads without --kubeconfig: KUBECONFIG, several with colons, or ~/.kube/config."""
    named = [Path(each).expanduser() for each in env.get("KUBECONFIG", "").split(":") if each]
    return named or [home / ".kube" / "config"]


def _merge(paths: Iterable[Path]) -> dict[str, Any]:
    merged: dict[str, Any] = {"clusters": {}, "users": {}, "contexts": {}, "current-context": ""}
    for path in paths:
        document = _read(path)
        merged["current-context"] = merged["current-context"] or document.get("current-context") or ""
        for section, kind in _SECTIONS.items():
            for entry in document.get(section) or ():
                if isinstance(entry, dict) and "name" in entry:
                    merged[section].setdefault(entry["name"], _absolute(entry.get(kind) or {}, kind, path))
    return merged


def _read(path: Path) -> Object:
    try:
        document = yaml.safe_load(path.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        why = getattr(error, "strerror", None) or str(error).splitlines()[0]
        raise NoCluster(f"{path}: the kubeconfig cannot be read: {why}") from error
    if document is not None and not isinstance(document, dict):
        raise NoCluster(f"{path}: is no kubeconfig: `kubectl config view` shows what one looks like")
    return document or {}


def _absolute(entry: Object, kind: str, path: Path) -> Object:
    """Return the entry with paths that are relative to the kubeconfig made absolute."""
    folder, result = path.resolve().parent, dict(entry)
    for key in _FILES.get(kind, ()):
        if entry.get(key):
            result[key] = str(folder / entry[key])
    plugin = entry.get("exec")
    if isinstance(plugin, dict) and "/" in str(plugin.get("command", "")):
        result["exec"] = plugin | {"command": str(folder / plugin["command"])}
    return result


def _single(cluster: Object, user: Object) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "manta",
        "clusters": [{"name": "manta", "cluster": cluster}],
        "users": [{"name": "manta", "user": user}],
        "contexts": [{"name": "manta", "context": {"cluster": "manta", "user": "manta"}}],
    }
