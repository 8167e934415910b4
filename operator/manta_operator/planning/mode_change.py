"""Which routers there are while `spec.router.mode` changes, so that no request is lost on the way. Pure.

    both     the new mode's routers are made; those of before stay as they are, the HTTPRoute to them, too
    lead     the new ones all serve, and the InferencePool is there: the HTTPRoute leads to them
    settle   the old ones stay until the Gateways say that they have taken the HTTPRoute over
    drain    the old ones are pruned: their pods finish what they have, NetworkPolicies still admit their clients
    over     one mode, as if there had never been another

Nothing is remembered but since when the HTTPRoute has led where it does; losing that makes the old ones stay longer.
"""

from dataclasses import dataclass

from manta_operator.planning.observed import Observed, ObservedRoute

SETTLE_SECONDS = 5.0
"""A Gateway has taken a route over when it says so; its proxies hear of it a moment later."""
PATIENCE_SECONDS = 30.0
"""How long a Gateway is waited for that says nothing: some never write the status of a route."""


@dataclass(frozen=True)
class Routers:
    """What is to be there.

    Attributes:
        both: The HTTPRoute stays as it is: it leads to the routers of the other mode.
        keep: The routers of the other mode stay: nothing of theirs is pruned.
        admit_both: The NetworkPolicies let the clients of both modes in.
        again_in: Seconds until another look may say something else although nothing happens; None: it will not.
    """

    both: bool = False
    keep: bool = False
    admit_both: bool = False
    again_in: float | None = None


def routers(observed: Observed, wanted: str, other: str, replicas: int, to_pool: bool) -> Routers:
    """Return which routers are to be there.

    Args:
        observed: What there is.
        wanted: Name of the Deployment of the mode that is asked for.
        other: Name of the other mode's.
        replicas: Router pods asked for.
        to_pool: The mode that is asked for is inference-pool.
    """
    found = {router.name: router for router in observed.routers}
    if other not in found or found[other].deleting:
        return Routers(admit_both=other in observed.router_pods)
    serves = wanted in found and found[wanted].ready >= replicas and (observed.pool or not to_pool)
    if not serves:
        return Routers(both=True, keep=True, admit_both=True)
    waits = _waits(observed.route, to_pool)
    return Routers(keep=waits is not None, admit_both=True, again_in=waits)


def _waits(route: ObservedRoute | None, to_pool: bool) -> float | None:
    """Return for how many seconds the old routers stay at least; None: nobody is sent to them any more."""
    if route is None:
        return None  # there are no Gateways that could send anybody
    if route.to_pool != to_pool:
        return SETTLE_SECONDS  # this pass writes it anew
    if route.refusal:
        return PATIENCE_SECONDS
    left = (SETTLE_SECONDS if route.taken else PATIENCE_SECONDS) - route.age
    return left if left > 0 else None
