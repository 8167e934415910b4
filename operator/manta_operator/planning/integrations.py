"""What other projects' kinds an LLMDeployment asks for, and how that went. Pure.

Their CRDs may be absent: then nothing else stops, and the condition Integrated says what is missing.
"""

from dataclasses import dataclass

from manta_operator.planning.observed import ObservedRoute
from manta_operator.planning.problems import Failure


@dataclass(frozen=True)
class OptionalKind:
    """A kind that a cluster may not serve."""

    api_version: str
    kind: str
    project: str
    field: str
    """The field of the spec that asks for it."""


POD_MONITOR = OptionalKind(
    "monitoring.coreos.com/v1", "PodMonitor", "the Prometheus operator", "spec.monitoring.podMonitor"
)
HTTP_ROUTE = OptionalKind("gateway.networking.k8s.io/v1", "HTTPRoute", "the Gateway API", "spec.gateway.parentRefs")
INFERENCE_POOL = OptionalKind(
    "inference.networking.k8s.io/v1", "InferencePool", "the Gateway API Inference Extension", "spec.router.mode"
)
OPTIONAL_KINDS = (POD_MONITOR, HTTP_ROUTE, INFERENCE_POOL)


@dataclass(frozen=True)
class Integration:
    """One object of an optional kind that was asked for; `failure` is why it is not there."""

    kind: str
    failure: Failure | None = None


def absent(kind: OptionalKind) -> Integration:
    """Return what became of an object whose kind the cluster does not serve."""
    message = (
        f"the cluster serves no {kind.kind} of {kind.api_version}: install the CRDs of {kind.project}, "
        f"or leave {kind.field} out; everything else goes on"
    )
    return Integration(kind.kind, Failure("CRDMissing", message))


def unresolved(route: ObservedRoute) -> Integration:
    """Return what became of an HTTPRoute of which a Gateway says that it cannot find what it leads to."""
    message = (
        f"a Gateway does not find what the HTTPRoute leads to: {route.refusal.rstrip('.')}; the routers of before "
        "stay: use a Gateway that serves InferencePools, or set spec.router.mode back"
    )
    return Integration(HTTP_ROUTE.kind, Failure("RouteNotResolved", message))
