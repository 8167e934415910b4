"""A child as the store keeps it: who it is, whose it is, a digest of what it says, and what the plan reads of it."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from sys import intern
from typing import Any

from msgspec import json

from manta_operator.api import names
from manta_operator.controller.kinds import KEPT
from manta_operator.planning.observe import slim
from manta_operator.planning.observe_pods import is_fetching

Object = dict[str, Any]
Key = tuple[str, str]
"""Namespace and name of an LLMDeployment."""
ChildName = tuple[str, str]
"""Kind and name."""


@dataclass(frozen=True, slots=True)
class Child:
    """One child. `seen` is JSON and not dicts, since a thousand deployments have thousands of pods."""

    kind: str
    namespace: str
    name: str
    uid: str
    version: int
    owner: str
    """uid of its controller; empty: it has none."""
    controller: str
    """Kind and name of its controller."""
    deployment: str
    """Name of the LLMDeployment whose label it carries."""
    digest: bytes
    deleting: bool
    seen: bytes
    component: str = ""
    """Of a pod: engine or router."""
    address: str = ""
    """IP address of a router pod, of a group's head, and of an engine pod that fetches its model."""
    mounts: tuple[str, ...] = ()
    """Of a pod: the ConfigMaps that it reads."""
    node: str = ""
    """Of a pod: where it runs."""
    fetching: bool = False
    """Of an engine pod: its init container fetches the model now."""
    head: bool = False
    """Of an engine pod: it is rank 0 of its group."""
    ready: bool = False
    """Of a router pod: requests are sent to it."""

    @property
    def key(self) -> Key:
        """The LLMDeployment it belongs to by its label."""
        return (self.namespace, self.deployment)

    def body(self) -> Object:
        """Return what `slim` left of it."""
        result: Object = json.decode(self.seen)
        return result


def child(kind: str, body: Mapping[str, Any]) -> Child:
    """Cut a body as the API server sends it down to what is kept."""
    metadata = body["metadata"]
    labels = metadata.get("labels") or {}
    component = labels.get(names.LABEL_COMPONENT, "") if kind == "Pod" else ""
    owner = next((ref for ref in metadata.get("ownerReferences") or () if ref.get("controller")), None)
    status = body.get("status") or {}
    fetches = component == names.COMPONENT_ENGINE and is_fetching(status)
    head = component == names.COMPONENT_ENGINE and labels.get(names.LABEL_POD_INDEX) == "0"
    asked = fetches or head or component == names.COMPONENT_ROUTER
    return Child(
        kind=intern(kind),
        namespace=intern(metadata["namespace"]),
        name=metadata["name"],
        uid=metadata["uid"],
        version=number(metadata),
        owner=owner["uid"] if owner else "",
        controller=intern(f"{owner['kind']} {owner['name']}") if owner else "",
        deployment=intern(labels.get(names.LABEL_DEPLOYMENT, "")),
        digest=b"" if kind == "Pod" else digest(body),
        deleting="deletionTimestamp" in metadata,
        seen=_text(slim(kind, body)) if kind in KEPT else b"",
        component=intern(component),
        # One that has ended keeps its address, and another pod may have it by now.
        address=status.get("podIP", "") if asked and status.get("phase") not in ("Failed", "Succeeded") else "",
        mounts=_mounts(body["spec"]) if component else (),
        node=intern(body["spec"].get("nodeName") or "") if kind == "Pod" else "",
        fetching=fetches,
        head=head,
        ready=component == names.COMPONENT_ROUTER and _ready(status),
    )


def _ready(status: Mapping[str, Any]) -> bool:
    conditions = status.get("conditions") or ()
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def _mounts(spec: Mapping[str, Any]) -> tuple[str, ...]:
    volumes = spec.get("volumes") or ()
    sources = [each for volume in volumes for each in (volume, *(volume.get("projected") or {}).get("sources", ()))]
    return tuple(intern(each["configMap"]["name"]) for each in sources if each.get("configMap"))


def digest(body: Mapping[str, Any]) -> bytes:
    """Hash what an apply of ours could change: everything but status and bookkeeping.

    Annotations count only where they are ours: controllers write theirs beside them.
    """
    metadata = body["metadata"]
    annotations = metadata.get("annotations") or {}
    ours = {name: annotations[name] for name in annotations if name.startswith("manta.dev/")}
    ours.pop(names.ANNOTATION_RESTART, None)
    content = {key: value for key, value in body.items() if key not in ("apiVersion", "kind", "metadata", "status")}
    return fingerprint([metadata.get("labels"), metadata.get("ownerReferences"), ours, content])


def fingerprint(value: Any) -> bytes:
    """Hash a JSON value; the order of keys does not matter."""
    return hashlib.blake2b(_text(value), digest_size=12).digest()


def _text(value: Any) -> bytes:
    return json.encode(value, order="deterministic")


def number(metadata: Mapping[str, Any]) -> int:
    """Return the resourceVersion as the number that Kubernetes since 1.35 promises it to be; 0 if it is not."""
    version: str | None = metadata.get("resourceVersion")
    return int(version) if version and version.isdecimal() else 0
