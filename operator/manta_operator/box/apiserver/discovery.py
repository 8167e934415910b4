"""Which groups, versions and kinds are served: the old documents, one a version, and the aggregated one."""

from typing import Any

from manta_operator.box.apiserver.resources import Registry, Resource

AGGREGATED = "application/json;g=apidiscovery.k8s.io;v={};as=APIGroupDiscoveryList"
VERSION = {
    "major": "1",
    "minor": "37",
    "gitVersion": "v1.37.0+manta.box",
    "gitCommit": "",
    "gitTreeState": "clean",
    "buildDate": "1970-01-01T00:00:00Z",
    "goVersion": "",
    "compiler": "",
    "platform": "linux/amd64",
}


def _subresources(resource: Resource) -> list[tuple[str, dict[str, str], list[str]]]:
    """Return name, group/version/kind and verbs of each."""
    own = {"group": resource.group, "version": resource.version, "kind": resource.kind}
    found = []
    if resource.status:
        found.append(("status", own, ["get", "patch", "update"]))
    if resource.scale:
        found.append(("scale", {"group": "autoscaling", "version": "v1", "kind": "Scale"}, ["get", "patch", "update"]))
    if resource.log:
        found.append(("log", own, ["get"]))
    if resource.eviction:
        found.append(("eviction", {"group": "policy", "version": "v1", "kind": "Eviction"}, ["create"]))
    return found


def api_versions(address: str) -> dict[str, Any]:
    """Answer /api."""
    where = [{"clientCIDR": "0.0.0.0/0", "serverAddress": address}]
    return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": where}


def _group(name: str, versions: list[str]) -> dict[str, Any]:
    listed = [{"groupVersion": f"{name}/{version}", "version": version} for version in versions]
    return {"name": name, "versions": listed, "preferredVersion": listed[0]}


def api_groups(registry: Registry) -> dict[str, Any]:
    """Answer /apis."""
    groups = [_group(name, versions) for name, versions in registry.groups().items() if name]
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}


def api_group(registry: Registry, name: str) -> dict[str, Any] | None:
    """Answer /apis/<group>."""
    versions = registry.groups().get(name)
    return {"kind": "APIGroup", "apiVersion": "v1", **_group(name, versions)} if versions else None


def resource_list(registry: Registry, group: str, version: str) -> dict[str, Any] | None:
    """Answer /apis/<group>/<version>; None if nothing of it is served."""
    entries: list[dict[str, Any]] = []
    for resource in registry:
        if (resource.group, resource.version) != (group, version):
            continue
        entry: dict[str, Any] = {
            "name": resource.plural,
            "singularName": resource.singular,
            "namespaced": resource.namespaced,
            "kind": resource.kind,
            "verbs": list(resource.verbs),
        }
        entry |= {"shortNames": list(resource.short_names)} if resource.short_names else {}
        entry |= {"categories": list(resource.categories)} if resource.categories else {}
        entries.append(entry)
        for name, gvk, verbs in _subresources(resource):
            sub = {"name": f"{resource.plural}/{name}", "singularName": "", "namespaced": resource.namespaced}
            outside = gvk if gvk["group"] != resource.group else {"kind": gvk["kind"]}
            entries.append({**sub, **outside, "verbs": verbs})
    if not entries:
        return None
    together = f"{group}/{version}" if group else version
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": together, "resources": entries}


def _aggregated_resource(resource: Resource) -> dict[str, Any]:
    gvk = {"group": resource.group, "version": resource.version, "kind": resource.kind}
    entry: dict[str, Any] = {
        "resource": resource.plural,
        "responseKind": gvk,
        "scope": "Namespaced" if resource.namespaced else "Cluster",
        "singularResource": resource.singular,
        "verbs": list(resource.verbs),
        "shortNames": list(resource.short_names),
        "categories": list(resource.categories),
    }
    subs = [{"subresource": n, "responseKind": kind, "verbs": verbs} for n, kind, verbs in _subresources(resource)]
    return entry | ({"subresources": subs} if subs else {})


def aggregated(registry: Registry, *, core: bool, version: str) -> dict[str, Any]:
    """Answer /api (core) or /apis for clients that take everything at once; `version` is v2 or v2beta1."""
    items = []
    for name, versions in registry.groups().items():
        if bool(name) == core:
            continue
        listed = []
        for each in versions:
            inside = [_aggregated_resource(r) for r in registry if (r.group, r.version) == (name, each)]
            listed.append({"version": each, "resources": inside, "freshness": "Current"})
        items.append({"metadata": {"name": name, "creationTimestamp": None}, "versions": listed})
    return {
        "kind": "APIGroupDiscoveryList",
        "apiVersion": f"apidiscovery.k8s.io/{version}",
        "metadata": {},
        "items": items,
    }
