"""Which routers there are while `spec.router.mode` changes, so that no request is lost on the way. Pure.

    both     the new mode's routers are made; those of before stay as they are, the HTTPRoute to them, too
    lead     the new ones all serve, and the InferencePool is there: the HTTPRoute leads to them
    drain    the old ones are pruned: their pods finish what they have, NetworkPolicies still admit their clients
    over     one mode, as if there had never been another

Nothing is remembered: each state is read from the Deployments and pods that there are.
"""

from dataclasses import dataclass

from manta_operator.planning.observed import Observed


@dataclass(frozen=True)
class Routers:
    """What is to be there.

    Attributes:
        both: The routers of the other mode stay, and the HTTPRoute as it is: nothing is pruned.
        admit_both: The NetworkPolicies let the clients of both modes in.
    """

    both: bool = False
    admit_both: bool = False


def routers(observed: Observed, wanted: str, other: str, replicas: int, needs_pool: bool) -> Routers:
    """Return which routers are to be there.

    Args:
        observed: What there is.
        wanted: Name of the Deployment of the mode that is asked for.
        other: Name of the other mode's.
        replicas: Router pods asked for.
        needs_pool: The mode that is asked for is inference-pool.
    """
    found = {router.name: router for router in observed.routers}
    if other not in found or found[other].deleting:
        return Routers(admit_both=other in observed.router_pods)
    serves = wanted in found and found[wanted].ready >= replicas and (observed.pool or not needs_pool)
    return Routers(both=not serves, admit_both=True)
