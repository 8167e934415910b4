"""`spec.autoscaling` and `status.autoscaling`: replicas that follow the demand, and what was decided about them.

Part of the frozen models; `models.py` and `status.py` put them together.
"""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field

from manta_operator.api.fields import Frozen

MOST_CHANGES = 16
"""Changes of the replicas that the status keeps."""

Count = Annotated[int, Field(ge=0)]


class ScaleTargetSpec(Frozen):
    """How full replicas may be, and how long users may wait."""

    utilisation_percent: Annotated[int, Field(ge=1, le=100)] = 90
    """How much of what a replica can do may be used by demand that does not fluctuate. What is kept free for
    fluctuation comes on top, as measured."""
    first_token_milliseconds: Annotated[int, Field(ge=100, le=600_000)] = 5000
    """How long a first token may take. Queues that are shorter hide fluctuation."""
    between_tokens_milliseconds: Annotated[int, Field(ge=1, le=60_000)] | None = None
    """How long the next token may take. Only read by signal latency. Omitted: any time."""
    objective_percent: Annotated[int, Field(ge=50, le=99)] = 99
    """How many requests in a hundred must keep to these times."""


class ScaleToZeroSpec(Frozen):
    """When the last replica goes, and what becomes of requests until one is back."""

    after_seconds: Annotated[int, Field(ge=10, le=604_800)] = 600
    """Seconds without any request after which the last replicas go."""
    hold_seconds: Annotated[int, Field(ge=1, le=3600)] = 900
    """How long a request may wait in the router for the first replica; then it is answered with 503. At least as long
    as a start takes. As many may wait as spec.router.hold.queueSize allows."""


class ScaleBehaviourSpec(Frozen):
    """How fast the number of replicas may change."""

    up_percent: Annotated[int, Field(ge=0, le=10_000)] = 400
    """Replicas that one decision may add, in percent of those that are asked for."""
    up_replicas: Annotated[int, Field(ge=1, le=1000)] = 10
    """Replicas that one decision may add at any rate."""
    down_percent: Annotated[int, Field(ge=1, le=100)] = 50
    """Replicas that may go within downSeconds, in percent; one at any rate."""
    down_seconds: Annotated[int, Field(ge=1, le=86_400)] = 60
    """See downPercent."""
    stabilisation_seconds: Annotated[int, Field(ge=0, le=86_400)] | None = None
    """How long the highest need is kept. Omitted: chosen from what the past would have needed."""


class AutoscalingSpec(Frozen):
    """Replicas follow the demand. spec.replicas is then only where they begin."""

    min_replicas: Count = 1
    """Fewest replicas. 0: none while nobody asks, see scaleToZero."""
    max_replicas: Annotated[int, Field(ge=1, le=1000)]
    """Most replicas."""
    signal: Literal["utilisation", "latency"] = "utilisation"
    """What is kept to. utilisation: how full replicas are. latency: in addition what engines measure of the times in
    target; long prompts look like slowness then."""
    target: ScaleTargetSpec = Field(default_factory=ScaleTargetSpec)
    """How full replicas may be, and how long users may wait."""
    scale_to_zero: ScaleToZeroSpec = Field(default_factory=ScaleToZeroSpec)
    """When the last replica goes, where minReplicas is 0."""
    behaviour: ScaleBehaviourSpec = Field(default_factory=ScaleBehaviourSpec)
    """How fast the number of replicas may change."""


class ScaleChange(Frozen):
    """One change of the number of replicas."""

    time: Annotated[str, Field(json_schema_extra={"format": "date-time"})]
    """When it was decided."""
    from_replicas: Count
    """Replicas asked for before."""
    to_replicas: Count
    """Replicas asked for since."""
    reason: Annotated[str, Field(min_length=1, max_length=64)]
    """The cause in one CamelCase word."""
    message: Annotated[str, Field(max_length=1024)] = ""
    """The cause in a sentence, with its numbers."""


class AutoscalingStatus(Frozen):
    """What the autoscaler asks for, and why."""

    replicas: Count
    """Replicas that it asks for."""
    reason: Annotated[str, Field(min_length=1, max_length=64)]
    """Why so many, in one CamelCase word."""
    message: Annotated[str, Field(max_length=1024)] = ""
    """Why so many, in a sentence."""
    time: Annotated[str, Field(json_schema_extra={"format": "date-time"})] | None = None
    """When that was decided. It is written anew when the replicas change, and else at most once a minute."""
    numbers: Annotated[Mapping[str, float], Field(max_length=64)] = Field(default_factory=dict)
    """What it was decided from: replicas, seconds, shares."""
    cold_start_seconds: Annotated[float, Field(ge=0)] | None = None
    """How long the last starts of replicas took. Omitted: none has been seen yet."""
    speed: Annotated[float, Field(ge=0)] | None = None
    """What a replica can do, as measured, relative to the planner's estimate. Omitted: not known yet."""
    changes: Annotated[tuple[ScaleChange, ...], Field(max_length=MOST_CHANGES)] = ()
    """The last changes, the newest first."""
