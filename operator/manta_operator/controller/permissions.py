"""What the operator may do, and why: the one list from which the chart's roles are generated (`make chart`).

Never a wildcard. A test holds the list against the kinds the controller makes and watches; the integration suite runs
with exactly this role. Kubernetes lets nobody grant what they lack, so `pods get` is here because the router's Role
has it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from manta_operator.api import names

_WATCH = ("get", "list", "watch")
_MAKE = (*_WATCH, "create", "patch", "delete")


@dataclass(frozen=True)
class Permission:
    """Verbs on resources of one API group, and what for."""

    group: str
    resources: tuple[str, ...]
    verbs: tuple[str, ...]
    why: str


NAMESPACED = (
    Permission(names.GROUP, ("llmdeployments",), ("get", "list", "watch", "patch"), "read them; patch the finalizer"),
    Permission(names.GROUP, ("llmdeployments/status",), ("patch",), "say how they are"),
    Permission(names.GROUP, ("llmdeployments/finalizers",), ("update",), "own children that block a deletion"),
    Permission("", ("configmaps", "serviceaccounts", "services"), _MAKE, "children"),
    Permission("", ("secrets",), ("create",), "the token of a deployment's groups; none is ever read"),
    Permission("", ("pods",), (*_WATCH, "delete"), "see them, restart a group; get is granted on to the router"),
    Permission("", ("events",), ("create",), "tell what happened"),
    Permission("apps", ("deployments", "statefulsets"), _MAKE, "routers and groups"),
    Permission("networking.k8s.io", ("networkpolicies",), _MAKE, "children"),
    Permission("policy", ("poddisruptionbudgets",), _MAKE, "children"),
    Permission("rbac.authorization.k8s.io", ("rolebindings", "roles"), _MAKE, "what the router may read"),
    Permission("monitoring.coreos.com", ("podmonitors",), _MAKE, "spec.monitoring, where it is served"),
    Permission("gateway.networking.k8s.io", ("httproutes",), _MAKE, "spec.gateway, where it is served"),
    Permission("inference.networking.k8s.io", ("inferencepools",), _MAKE, "spec.router.mode, where it is served"),
)
"""In every namespace the operator watches."""

CLUSTER = (
    Permission("apiextensions.k8s.io", ("customresourcedefinitions",), ("list", "watch"), "kinds that come and go"),
    Permission("", ("namespaces",), ("list", "watch"), "watched namespaces that come and go"),
    Permission("", ("nodes", "pods"), ("list",), "is there room for one more group; which node is lost"),
)
"""Reading beyond the namespaces. Without it the operator runs, and does not know about room and lost nodes."""

PARENTS = (
    Permission(
        names.GROUP, ("llmdeployments",), ("get", "list", "watch", "patch"),
        "one whose namespace is deleted must be let go, and the Role there goes first",
    ),
)  # fmt: skip
"""Beyond the namespaces too, where only some are served."""

LEASE = (
    Permission("coordination.k8s.io", ("leases",), ("create",), "leader election; a name cannot be asked for here"),
    Permission("coordination.k8s.io", ("leases",), ("get", "update"), "leader election, the one Lease"),
)
"""In the operator's own namespace."""

CATALOG = (
    Permission("", ("configmaps",), ("get",), "the user's catalog, the one ConfigMap"),
    Permission("", ("events",), ("create",), "tell which of its entries are wrong"),
)
"""In the operator's own namespace, too."""

TOKENS = (Permission("", ("secrets",), ("get",), "tokens with which hubs are asked about models"),)
"""In every namespace the operator watches, only where the chart is told so (facts.readSecrets)."""

WEBHOOK = (
    Permission(
        "admissionregistration.k8s.io", ("validatingwebhookconfigurations",), ("get", "patch"),
        "have its certificates trusted, in the one configuration",
    ),
)  # fmt: skip
"""Only where the admission webhook is on, and makes its own certificates."""

RELEASE = (Permission(names.GROUP, ("llmdeployments",), ("get", "list", "patch"), "take the finalizer off"),)
"""What the hook of the uninstallation may do where the operator watched."""


def guarded() -> list[dict[str, Any]]:
    """Return the `resourceRules` of an admission policy: every write to what is, or should be, of the operator's own.

    Left out: its LLMDeployments, whose owners are people, and events, which anybody may make.
    """
    groups: dict[str, set[str]] = {}
    for each in NAMESPACED:
        if {"create", "delete"} & set(each.verbs) and each.resources != ("events",):
            groups.setdefault(each.group, set()).update(each.resources)
    return [
        {
            "apiGroups": [group],
            "apiVersions": ["*"],
            "operations": ["CREATE", "UPDATE", "DELETE"],
            "resources": sorted(resources),
        }
        for group, resources in groups.items()
    ]


def rules(permissions: Sequence[Permission]) -> list[dict[str, Any]]:
    """Return the `rules` of a Role or ClusterRole."""
    return [
        {"apiGroups": [each.group], "resources": sorted(each.resources), "verbs": sorted(each.verbs)}
        for each in permissions
    ]
