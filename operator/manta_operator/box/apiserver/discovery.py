"""What the API server serves, in the words of the discovery endpoints: /version, /api, /apis and aggregated discovery.

Pure: the HTTP layer calls one function a URL with the registry and sends the answer as JSON.
"""

import re
from typing import Any, Final

from manta_operator.box.apiserver.resources import Registry, Resource
from manta_operator.box.cluster import Object

AGGREGATED: Final = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
"""Content-Type of `aggregated()`; client-go compares its parameters, so it is sent without a charset."""

_SUB_VERBS = ("get", "patch", "update")
_VERSION = re.compile(r"^v(\d+)(?:(alpha|beta)(\d+))?$")
_STABILITY = {"alpha": 0, "beta": 1, None: 2}


def wants_aggregated(accept: str) -> bool:
    """Whether an Accept header asks for aggregated discovery in a version served here."""
    for option in accept.split(","):
        parameters = {part.strip() for part in option.split(";")[1:]}
        if {"g=apidiscovery.k8s.io", "v=v2", "as=APIGroupDiscoveryList"} <= parameters:
            return True
    return False


def version() -> Object:
    """Answer /version."""
    return {
        "major": "1",
        "minor": "37",
        "gitVersion": "v1.37.0+box",
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "",
        "compiler": "",
        "platform": "linux/amd64",
    }


def api_versions() -> Object:
    """Answer /api: the versions of the core group."""
    return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}


def group_list(registry: Registry) -> Object:
    """Answer /apis: every group but the core one."""
    groups = [_group(name, versions) for name, versions in registry.groups().items() if name]
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}


def group(registry: Registry, name: str) -> Object | None:
    """Answer /apis/<group>; None (404) if there is no such group."""
    versions = registry.groups().get(name) if name else None
    return {"kind": "APIGroup", "apiVersion": "v1"} | _group(name, versions) if versions else None


def resource_list(registry: Registry, group: str, version: str) -> Object | None:
    """Answer /api/v1 or /apis/<group>/<version>; None (404) if it is not served."""
    found = _resources(registry, group, version)
    if not found:
        return None
    entries = [entry for resource in found for entry in _api_resources(resource)]
    group_version = found[0].api_version
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": entries}


def aggregated(registry: Registry, *, core: bool) -> Object:
    """Answer /api (`core`) or /apis (not `core`) with everything below it; send it with Content-Type AGGREGATED."""
    items = [
        {
            "metadata": {"name": name, "creationTimestamp": None} if name else {"creationTimestamp": None},
            "versions": [_aggregated_version(registry, name, version) for version in by_priority(versions)],
        }
        for name, versions in registry.groups().items()
        if core is not bool(name)
    ]
    return {"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items}


def by_priority(versions: list[str]) -> list[str]:
    """Order versions as Kubernetes prefers them: v2, v1, v1beta2, v1beta1, v1alpha1, then other names."""

    def rank(version: str) -> tuple[int, int, int, int]:
        match = _VERSION.match(version)
        if match is None:
            return (0, 0, 0, 0)
        return (1, _STABILITY[match[2]], int(match[1]), int(match[3] or 0))

    return sorted(sorted(versions), key=rank, reverse=True)


def _resources(registry: Registry, group: str, version: str) -> list[Resource]:
    return [resource for resource in registry if (resource.group, resource.version) == (group, version)]


def _group(name: str, versions: list[str]) -> Object:
    entries = [{"groupVersion": f"{name}/{version}", "version": version} for version in by_priority(versions)]
    return {"name": name, "versions": entries, "preferredVersion": entries[0]}


def _subresources(resource: Resource) -> list[tuple[str, str, str, str, tuple[str, ...]]]:
    """Return name, group, version, kind and verbs of each."""
    own = (resource.group, resource.version, resource.kind)
    found: list[tuple[str, str, str, str, tuple[str, ...]]] = []
    if resource.status:
        found.append(("status", *own, _SUB_VERBS))
    if resource.scale:
        found.append(("scale", "autoscaling", "v1", "Scale", _SUB_VERBS))
    if resource.log:
        found.append(("log", *own, ("get",)))
    if resource.token:
        found.append(("token", "authentication.k8s.io", "v1", "TokenRequest", ("create",)))
    if resource.eviction:
        found.append(("eviction", "policy", "v1", "Eviction", ("create",)))
    return found


def _names(resource: Resource) -> dict[str, Any]:
    names = {"shortNames": list(resource.short_names), "categories": list(resource.categories)}
    return {key: value for key, value in names.items() if value}


def _api_resources(resource: Resource) -> list[Object]:
    entry = {
        "name": resource.plural,
        "singularName": resource.singular,
        "namespaced": resource.namespaced,
        "kind": resource.kind,
        "verbs": list(resource.verbs),
    }
    entries = [entry | _names(resource)]
    for name, group, version, kind, verbs in _subresources(resource):
        foreign = {} if group == resource.group else {"group": group, "version": version}
        entries.append(
            {
                "name": f"{resource.plural}/{name}",
                "singularName": "",
                "namespaced": resource.namespaced,
                **foreign,
                "kind": kind,
                "verbs": list(verbs),
            }
        )
    return entries


def _aggregated_version(registry: Registry, group: str, version: str) -> Object:
    resources = [_aggregated_resource(resource) for resource in _resources(registry, group, version)]
    return {"version": version, "resources": resources, "freshness": "Current"}


def _aggregated_resource(resource: Resource) -> Object:
    entry = {
        "resource": resource.plural,
        "responseKind": {"group": resource.group, "version": resource.version, "kind": resource.kind},
        "scope": "Namespaced" if resource.namespaced else "Cluster",
        "singularResource": resource.singular,
        "verbs": list(resource.verbs),
    }
    below = [
        {
            "subresource": name,
            "responseKind": {"group": group, "version": version, "kind": kind},
            "verbs": list(verbs),
        }
        for name, group, version, kind, verbs in _subresources(resource)
    ]
    return entry | _names(resource) | ({"subresources": below} if below else {})
