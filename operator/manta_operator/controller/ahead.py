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
from manta_operator.controller.statuses import Statuses
from manta_operator.planning import autoscale


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
    scale, status = entry.memory.scale, entry.status()
    written = _written(deployment, status)
    if scale is None or asked == written:
        return autoscale.asking(deployment, asked), []
    after = {**status, "autoscaling": told(scale, status, asked), "desiredReplicas": asked}
    try:
        there = await statuses.write(entry, after)
    except ClusterError as error:
        return autoscale.asking(deployment, written), [error]
    return (autoscale.asking(deployment, asked) if there else None), []


def _written(deployment: LLMDeployment, status: Mapping[str, Any]) -> int:
    """Return what a restarted operator would begin with, and so what the groups follow now."""
    said = (status.get("autoscaling") or {}).get("replicas")
    return said if isinstance(said, int) else autoscale.begin(deployment, status)
