"""Between the autoscaling's memory and the status: where a restarted operator begins, and what a pass tells.

What is written is `planning.autoscale`'s, pure; here it is given the clocks, and who else writes the number.
"""

import time
from collections.abc import Mapping
from typing import Any

from manta_operator.api.models import LLMDeployment
from manta_operator.controller.deployments import Entry
from manta_operator.controller.scale_memory import Scale
from manta_operator.controller.statuses import timestamp
from manta_operator.planning import autoscale
from manta_operator.planning.autoscale_starts import LONGEST_START_SECONDS, known
from manta_operator.planning.autoscale_status import Scaling
from manta_operator.planning.observed import Observed


def begun(deployment: LLMDeployment, status: Mapping[str, Any]) -> Scale:
    """Begin where the status left off, else with `spec.replicas`; within the bounds."""
    seconds = (status.get("autoscaling") or {}).get("coldStartSeconds")
    valid = isinstance(seconds, int | float) and 0 < seconds <= LONGEST_START_SECONDS
    starts = known(seconds if valid else None)
    return Scale(autoscale.begin(deployment, status), autoscale.state(status), starts=starts)


def told(scale: Scale, status: Mapping[str, Any], asked: int) -> dict[str, Any]:
    """Return the whole of status.autoscaling as it is to be written.

    Args:
        scale: What is remembered.
        status: Of the deployment, as it stands.
        asked: The number that a pass acts by; the memory may have another one already.
    """
    return autoscale.told(status, scale.decided, asked, scale.learned(), timestamp())


def scaling(entry: Entry, deployment: LLMDeployment, observed: Observed, revision: str) -> Scaling | None:
    """Return what a pass tells of the autoscaling, and remember that it does; None: `spec.replicas` rules."""
    scale, wish, now = entry.memory.scale, deployment.spec.autoscaling, time.monotonic()
    if wish is None and entry.memory.step_in is not None:
        replicas = deployment.spec.replicas
        return Scaling(entry.status().get("autoscaling") or {}, replicas, replicas, off=True)
    if scale is None or wish is None:
        return None
    asked = deployment.spec.replicas
    scale.shown = scale.standing(now)
    since = min((each.since, each.time) for each in scale.silent.values())[1] if scale.silent else None
    return Scaling(
        told=told(scale, entry.status(), asked),
        least=wish.min_replicas,
        most=wish.max_replicas,
        decided=scale.decided is not None,
        missing=scale.missing(now),
        missing_since=since,
        blind=scale.blind(now),
        unschedulable=autoscale.replicas(observed, revision, asked).unschedulable,
        hold_seconds=wish.scale_to_zero.hold_seconds if wish.min_replicas == 0 else deployment.spec.router.hold.seconds,
        owner=autoscale.second_owner({"managedFields": entry.scale_fields}, time.time()),
        fault=scale.fault,
        old=scale.old(now),
        mute=scale.mute(now),
    )
