"""`spec.router`: the load balancer in front of the replicas.

Part of the frozen models; `models.py` puts them together and re-exports them.
"""

from typing import Annotated

from pydantic import Field

from manta_operator.api.choices import RouterMode, RouterPolicy
from manta_operator.api.engine import Resources
from manta_operator.api.fields import Frozen, list_map
from manta_operator.api.names import ROUTER_IMAGE
from manta_operator.api.router_parts import (
    AuthSpec,
    CacheSpec,
    HoldSpec,
    SessionSpec,
    TenantSpec,
    TimeoutsSpec,
    TracingSpec,
)
from manta_operator.api.scheduling import RouterSchedulingSpec


class RouterSpec(Frozen):
    """The load balancer in front of the replicas: pods of Envoy and an endpoint picker, and a Service."""

    mode: RouterMode = "envoy"
    """Who moves the bytes. envoy: Envoy in the router pods. inference-pool: a gateway with the Inference
    Extension, which asks the router pods; Manta makes an InferencePool, and an HTTPRoute where spec.gateway
    names one."""
    replicas: Annotated[int, Field(ge=1, le=100)] = 2
    """Router pods. Two or more survive the loss of a node."""
    port: Annotated[int, Field(ge=1, le=65535)] = 8000
    """Port of the Service that clients talk to. The Service has the name of the LLMDeployment."""
    policy: RouterPolicy = "prefix"
    """How a replica is chosen for a request. prefix: the one expected to answer first: it knows the prompt's
    beginning, or has little to do. least-load: the one with the fewest requests in flight. round-robin: one
    after the other. session: one for every session, see session.header."""
    session: SessionSpec = Field(default_factory=SessionSpec)
    """What makes requests one session."""
    auth: AuthSpec | None = None
    """API keys of the clients. Omitted: everybody who reaches the Service is served, as tenant anonymous."""
    tenants: Annotated[tuple[TenantSpec, ...], Field(max_length=256, json_schema_extra=list_map("name"))] = ()
    """What tenants may use. One that is not listed has no limits. A change restarts nothing; it takes Kubernetes
    up to two minutes."""
    hold: HoldSpec = Field(default_factory=HoldSpec)
    """Requests that wait while no replica can take them. Gateways of mode inference-pool wait as long as they are
    set to."""
    cache: CacheSpec | None = None
    """Answers that are kept. Omitted: none."""
    timeouts: TimeoutsSpec = Field(default_factory=TimeoutsSpec)
    """How long requests may take. In mode inference-pool the gateway decides."""
    retries: Annotated[int, Field(ge=0, le=5)] = 2
    """Further replicas that a request may be sent to when one fails before it has answered anything. In mode
    inference-pool so many, two at most, are named to the gateway, which decides: 0 for one that takes no list, such as
    Envoy AI Gateway."""
    tracing: TracingSpec | None = None
    """OpenTelemetry traces. Omitted: none."""
    image: Annotated[str, Field(min_length=1, max_length=512)] = ROUTER_IMAGE
    """Container image of the router pods: Envoy and manta-runtime. Manta's images for engines have both, too."""
    resources: Resources = Field(default_factory=Resources)
    """CPU and memory requested for the Envoy of every router pod; the endpoint picker beside it asks for
    100m and 128Mi more, and for what the cache may hold."""
    scheduling: RouterSchedulingSpec = Field(default_factory=RouterSchedulingSpec)
    """Where router pods may run. spec.scheduling is about engine pods alone."""
