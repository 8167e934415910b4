"""Parts of `spec.router`: who may ask, what is held and kept, how long anything may take, where traces go.

Part of the frozen models; `models.py` puts them together and re-exports them.
"""

from typing import Annotated

from pydantic import Field

from manta_operator.api.fields import (
    CACHE_SIZE_PATTERN,
    COLLECTOR_PATTERN,
    HEADER_PATTERN,
    SET,
    TENANT_PATTERN,
    Frozen,
    ObjectName,
    ShortText,
)


class SessionSpec(Frozen):
    """What makes requests one session."""

    header: Annotated[str, Field(pattern=HEADER_PATTERN, max_length=63)] = "x-session-id"
    """Request header, in lower case, whose value names the session. Policy session keeps a session on one replica."""


class AuthSpec(Frozen):
    """API keys of the clients."""

    secret: ObjectName
    """Secret of the same namespace. Each of its entries is a tenant: the name is the tenant's, the value has one
    sha256:<64 hexadecimal digits> of a key a line; `manta keys` writes them. A change takes Kubernetes up to two
    minutes. Without the Secret every request gets 401."""


class TenantSpec(Frozen):
    """What one tenant may use. Limits are exact in each router pod; another pod knows of usage a second later."""

    name: Annotated[str, Field(pattern=TENANT_PATTERN, max_length=63)]
    """Name of the tenant: an entry of the Secret of spec.router.auth, or anonymous where there is no auth."""
    models: Annotated[tuple[ShortText, ...], Field(max_length=64, json_schema_extra=SET)] | None = None
    """Names of models and adapters that the tenant may ask for; others do not exist for it (404).
    Omitted: all."""
    requests_per_minute: Annotated[int, Field(ge=1, le=10_000_000)] | None = None
    """Requests that may start in a minute; more are answered with 429 and the time to wait. Omitted: any number."""
    tokens_per_minute: Annotated[int, Field(ge=1, le=1_000_000_000)] | None = None
    """Prompt and completion tokens in a minute, as the engines count them, streams too. They are known when an answer
    ends, so that until then an estimate counts. Omitted: any number."""
    concurrency: Annotated[int, Field(ge=1, le=100_000)] | None = None
    """Requests in flight at once; more are answered with 429. Omitted: any number."""
    priority: Annotated[int, Field(ge=-1000, le=1000)] | None = None
    """Held requests of a higher priority go first. Omitted: 0."""
    weight: Annotated[int, Field(ge=1, le=100)] | None = None
    """Share of the places that come free, among tenants of the same priority with held requests. Omitted: 1."""


class HoldSpec(Frozen):
    """Requests that wait in the router while no replica can take them: all are busy, or there are none."""

    seconds: Annotated[int, Field(ge=0, le=3600)] = 60
    """How long a request may wait, then it is answered with 503. 0: none waits. Router pods on their way out take
    that much longer."""
    queue_size: Annotated[int, Field(ge=0, le=100_000)] = 1000
    """Requests that may wait in each router pod; more are answered with 503 at once, or with 429 where it is the tenant
    that has too many of them. 0: none waits."""


class CacheSpec(Frozen):
    """Answers that are kept: the same request of the same tenant gets the same answer without an engine.

    Only of requests that ask for it by being deterministic, with temperature 0 or a seed; Cache-Control: no-store in a
    request is honoured.
    """

    size: Annotated[str, Field(pattern=CACHE_SIZE_PATTERN, max_length=32)]
    """Memory for kept answers in each router pod, for example 256Mi, and less than 1000Gi; its picker requests that
    much more."""
    ttl_seconds: Annotated[int, Field(ge=1, le=2_592_000)] = 3600
    """How long an answer is kept. A rollout to another model makes all kept ones void."""


class TimeoutsSpec(Frozen):
    """How long requests may take. Time in hold does not count."""

    request_seconds: Annotated[int, Field(ge=1, le=604_800)] = 3600
    """Seconds for a whole request, retries and a streamed answer included."""
    first_byte_seconds: Annotated[int, Field(ge=1, le=86_400)] = 600
    """Seconds for the beginning of an answer from one replica; then another replica is tried, where retries are
    left."""


class TracingSpec(Frozen):
    """OpenTelemetry traces, made by Envoy."""

    endpoint: Annotated[str, Field(pattern=COLLECTOR_PATTERN, max_length=512)]
    """Collector that takes OTLP over HTTP, for example http://collector.monitoring:4318."""
    sampling_percent: Annotated[int, Field(ge=0, le=100)] = 100
    """Percent of the requests that are traced. A request that a traced caller sends is traced where the caller says
    so."""
