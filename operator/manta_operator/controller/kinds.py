"""The kinds of children the operator makes and watches."""

from dataclasses import dataclass

from manta_operator.api import names
from manta_operator.planning.integrations import HTTP_ROUTE, INFERENCE_POOL, OPTIONAL_KINDS

OURS = f"{names.LABEL_MANAGED_BY}=manta"
"""Label selector of children, so that the API server sends nobody else's objects."""
OTHERS = f"{names.LABEL_MANAGED_BY}!=manta"


@dataclass(frozen=True)
class ChildKind:
    """One kind. `optional`: it comes with somebody's CRD, and where that is absent nothing is wrong."""

    api_version: str
    kind: str
    optional: bool = False


CHILD_KINDS = (
    ChildKind("v1", "ServiceAccount"),
    ChildKind("rbac.authorization.k8s.io/v1", "Role"),
    ChildKind("rbac.authorization.k8s.io/v1", "RoleBinding"),
    ChildKind("v1", "ConfigMap"),
    ChildKind("v1", "Service"),
    ChildKind("policy/v1", "PodDisruptionBudget"),
    ChildKind("networking.k8s.io/v1", "NetworkPolicy"),
    ChildKind("apps/v1", "StatefulSet"),
    ChildKind("apps/v1", "Deployment"),
    ChildKind("v1", "Pod"),
    *(ChildKind(kind.api_version, kind.kind, optional=True) for kind in OPTIONAL_KINDS),
)

OBSERVED = frozenset({"StatefulSet", "Deployment", "Pod"})
"""What decisions are made from: without these a pass would judge a world it does not see."""

KEPT = OBSERVED | {HTTP_ROUTE.kind}
"""Kinds of which the store keeps what they say."""

LEADING = frozenset({"ConfigMap", "Service", "Deployment", INFERENCE_POOL.kind, HTTP_ROUTE.kind})
"""What leads requests to the engines. Of a mode that is left it stays until the other one is known to lead them."""

OPTIONAL = {kind.kind: kind for kind in CHILD_KINDS if kind.optional}
