"""The number of replicas that a pass acts by: a new one is written down before anything follows it.

So a restarted operator finishes what was begun, and does not guess. Where the API server does not take it, the groups
stay as they are, and the next pass tries again.
"""

from collections.abc import Mapping
from typing import Any

from manta_operator.api.models import LLMDeployment
from manta_operator.controller.deployments import Entry
from manta_operator.controller.errors import ClusterError
from manta_operator.controller.scale_told import told
from manta_operator.controller.statuses import Statuses, timestamp
from manta_operator.planning import autoscale
from manta_operator.planning.autoscale_off import remaining, stepping


async def settle(
    statuses: Statuses, entry: Entry, deployment: LLMDeployment, asked: int
) -> tuple[LLMDeployment | None, list[ClusterError]]:
    """Return the deployment with the replicas to act by, and what was refused; None: the object is gone.

    Args:
        statuses: What writes.
        entry: The deployment, and what is remembered of it.
        deployment: As its spec says.
        asked: How many replicas it is to have.
    """
    scale, status, now = entry.memory.scale, entry.status(), timestamp()
    left = stepping(asked, status, now) if deployment.spec.autoscaling is None else None
    entry.memory.step_in = remaining(left, now) if left else None
    if left is not None:
        return await _write(statuses, entry, deployment, left)
    if scale is None or asked == _written(deployment, status):
        return autoscale.asking(deployment, asked), []
    return await _write(statuses, entry, deployment, told(scale, status, asked))


async def _write(
    statuses: Statuses, entry: Entry, deployment: LLMDeployment, said: Mapping[str, Any]
) -> tuple[LLMDeployment | None, list[ClusterError]]:
    """Write status.autoscaling where it is new, and have its number followed; where that is refused, the one before."""
    status = entry.status()
    if said == status.get("autoscaling"):
        return autoscale.with_replicas(deployment, said["replicas"]), []
    try:
        there = await statuses.write(entry, {**status, "autoscaling": said, "desiredReplicas": said["replicas"]})
    except ClusterError as error:
        return autoscale.with_replicas(deployment, _written(deployment, status)), [error]
    return (autoscale.with_replicas(deployment, said["replicas"]) if there else None), []


def _written(deployment: LLMDeployment, status: Mapping[str, Any]) -> int:
    """Return what a restarted operator would begin with, and so what the groups follow now."""
    said = (status.get("autoscaling") or {}).get("replicas")
    return said if isinstance(said, int) else autoscale.begin(deployment, status)
