"""How many engine pods must stay healthy while replicas follow the demand: for the PodDisruptionBudget. Pure.

    R replicas are asked for, W of them wait for a place that they never had, p pods each

    healthy = max(R - W, min(R, max(1, minReplicas))) x p - 1      at least 0: one pod may always go, as elsewhere

A budget that allows one unavailable pod of all that should be there would block every drain for as long as the cluster
has no room for what the demand asks for, which may be for ever, and while a replica drains, whose StatefulSet is gone
already. So the pods that must be healthy are counted instead. A replica that had its place and lost it to a drain is
none of W: else one drain after the other would be allowed, until nothing serves.
"""

from manta_operator.api.models import LLMDeploymentSpec
from manta_operator.planning.observed import REPLACED_SECONDS, Observed, ObservedGroup
from manta_operator.planning.rollout_limits import stuck_at


def healthy_pods(spec: LLMDeploymentSpec, pods: int, observed: Observed) -> int | None:
    """Return how many engine pods no eviction may fall below; None without spec.autoscaling.

    Args:
        spec: With the replicas that are asked for.
        pods: Of a replica.
        observed: What there is.
    """
    if spec.autoscaling is None:
        return None
    waiting = sum(_never_placed(group, observed.now) for group in observed.groups)
    kept = max(spec.replicas - waiting, min(spec.replicas, max(1, spec.autoscaling.min_replicas)))
    return max(0, kept * pods - 1)


def _never_placed(group: ObservedGroup, now: float) -> bool:
    moment = stuck_at(group)
    fresh = all(pod.created <= group.created + REPLACED_SECONDS for pod in group.members)
    return moment is not None and moment <= now and fresh and not group.served
