"""The kinds the API server knows, as data: the built-in ones here, custom ones added by their CRDs at run time.

Everything else (store, handlers, discovery, OpenAPI, tables) asks this registry.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from manta_operator.schema.structural import StructuralSchema

ALL_VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")


@dataclass(frozen=True)
class ScalePaths:
    """Where a kind keeps what its scale subresource shows; dotted paths such as `.spec.replicas`."""

    spec_replicas: str = ".spec.replicas"
    status_replicas: str = ".status.replicas"
    selector: str | None = None


@dataclass(frozen=True)
class Resource:
    """One kind: how it is named in URLs and manifests, and what it can do."""

    group: str
    version: str
    kind: str
    plural: str
    singular: str
    namespaced: bool = True
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    status: bool = False
    scale: ScalePaths | None = None
    log: bool = False
    eviction: bool = False
    token: bool = False
    verbs: tuple[str, ...] = ALL_VERBS
    schema: StructuralSchema | None = None
    """Custom kinds only; built-in ones are validated by kubernetes-validate."""
    crd: Mapping[str, Any] | None = field(default=None, compare=False)
    """The CustomResourceDefinition a custom kind comes from."""
    crd_version: Mapping[str, Any] | None = field(default=None, compare=False)
    """Its entry of `spec.versions`."""

    @property
    def api_version(self) -> str:
        """`v1` or `apps/v1`."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def list_kind(self) -> str:
        """Kind of a list of these."""
        return f"{self.kind}List"

    @property
    def root(self) -> str:
        """First part of the URL: `/api/v1` or `/apis/apps/v1`."""
        return f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"

    def path(self, namespace: str | None, name: str = "") -> str:
        """URL of the collection or of one object."""
        inside = f"/namespaces/{namespace}" if self.namespaced and namespace else ""
        return f"{self.root}{inside}/{self.plural}" + (f"/{name}" if name else "")


def _core(kind: str, plural: str, *short: str, **more: Any) -> Resource:
    return Resource("", "v1", kind, plural, kind.lower(), short_names=short, **more)


def _of(group: str, version: str, kind: str, plural: str, *short: str, **more: Any) -> Resource:
    return Resource(group, version, kind, plural, kind.lower(), short_names=short, **more)


_WORKLOAD: dict[str, Any] = {"status": True, "categories": ("all",)}
_RBAC = "rbac.authorization.k8s.io"

BUILT_IN: tuple[Resource, ...] = (
    _core("Namespace", "namespaces", "ns", namespaced=False, status=True),
    _core("Node", "nodes", "no", namespaced=False, status=True),
    _core("Pod", "pods", "po", log=True, eviction=True, **_WORKLOAD),
    _core("Service", "services", "svc", **_WORKLOAD),
    _core("ConfigMap", "configmaps", "cm"),
    _core("Secret", "secrets"),
    _core("ServiceAccount", "serviceaccounts", "sa", token=True),
    _core("Event", "events", "ev"),
    _core("PersistentVolumeClaim", "persistentvolumeclaims", "pvc", status=True),
    _of("apps", "v1", "StatefulSet", "statefulsets", "sts", scale=ScalePaths(), **_WORKLOAD),
    _of("apps", "v1", "Deployment", "deployments", "deploy", scale=ScalePaths(), **_WORKLOAD),
    _of("apps", "v1", "ReplicaSet", "replicasets", "rs", scale=ScalePaths(), **_WORKLOAD),
    _of("apps", "v1", "ControllerRevision", "controllerrevisions"),
    _of("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices"),
    _of("policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets", "pdb", status=True),
    _of("networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies", "netpol"),
    _of(_RBAC, "v1", "Role", "roles"),
    _of(_RBAC, "v1", "RoleBinding", "rolebindings"),
    _of(_RBAC, "v1", "ClusterRole", "clusterroles", namespaced=False),
    _of(_RBAC, "v1", "ClusterRoleBinding", "clusterrolebindings", namespaced=False),
    _of("coordination.k8s.io", "v1", "Lease", "leases"),
    _of(
        "admissionregistration.k8s.io",
        "v1",
        "ValidatingWebhookConfiguration",
        "validatingwebhookconfigurations",
        namespaced=False,
    ),
    _of("scheduling.k8s.io", "v1", "PriorityClass", "priorityclasses", "pc", namespaced=False),
    _of(
        "apiextensions.k8s.io",
        "v1",
        "CustomResourceDefinition",
        "customresourcedefinitions",
        "crd",
        "crds",
        namespaced=False,
        status=True,
    ),
)

REVIEWS: tuple[Resource, ...] = (
    _of(
        "authorization.k8s.io",
        "v1",
        "SelfSubjectAccessReview",
        "selfsubjectaccessreviews",
        namespaced=False,
        verbs=("create",),
    ),
    _of(
        "authorization.k8s.io",
        "v1",
        "SelfSubjectRulesReview",
        "selfsubjectrulesreviews",
        namespaced=False,
        verbs=("create",),
    ),
)
"""Kinds that are asked and answered, never stored."""


class Registry:
    """The kinds served now. Built-in ones first, custom ones in the order of their CRDs."""

    def __init__(self) -> None:
        self._by_url = {(r.group, r.version, r.plural): r for r in (*BUILT_IN, *REVIEWS)}

    def __iter__(self) -> Iterator[Resource]:
        return iter(tuple(self._by_url.values()))

    def at(self, group: str, version: str, plural: str) -> Resource | None:
        """Return the kind behind a URL; None if it is not served."""
        return self._by_url.get((group, version, plural))

    def named(self, kind: str, group: str | None = None) -> Resource | None:
        """Return the kind by its name in manifests; built-in ones win where two groups use one name."""
        return next((r for r in self._by_url.values() if r.kind == kind and group in (None, r.group)), None)

    def add(self, resource: Resource) -> None:
        """Serve a custom kind from now on, or serve it with another schema."""
        self._by_url[resource.group, resource.version, resource.plural] = resource

    def remove(self, group: str, plural: str) -> None:
        """Stop serving every version of a custom kind."""
        for key in [key for key in self._by_url if key[0] == group and key[2] == plural]:
            del self._by_url[key]

    def groups(self) -> dict[str, list[str]]:
        """Return the versions of every group, the core group ("") first."""
        found: dict[str, list[str]] = {"": []}
        for resource in self._by_url.values():
            versions = found.setdefault(resource.group, [])
            if resource.version not in versions:
                versions.append(resource.version)
        return found
