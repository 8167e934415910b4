"""What routers there are while spec.router.mode changes: the sequence, and what must never happen in it."""

import pytest

from manta_operator.planning.mode_change import Routers, routers
from manta_operator.planning.observed import Observed, ObservedRouter

ENVOY, POOL = "demo-router", "demo-epp"
ONE = Routers()
BOTH = Routers(both=True, admit_both=True)
LEAD = Routers(both=False, admit_both=True)


def seen(*found: tuple[str, int], pods: tuple[str, ...] = (), pool: bool = False, deleting: str = "") -> Observed:
    return Observed(
        routers=tuple(ObservedRouter(name, ready, name == deleting) for name, ready in found),
        router_pods=frozenset(pods),
        pool=pool,
    )


@pytest.mark.parametrize(
    ("moment", "observed", "expected"),
    [
        ("a new deployment", seen(), ONE),
        ("nothing changes", seen((POOL, 2), pods=(POOL,), pool=True), ONE),
        ("the mode was changed", seen((ENVOY, 2), pods=(ENVOY,)), BOTH),
        ("the new pods start", seen((ENVOY, 2), (POOL, 0), pods=(ENVOY, POOL), pool=True), BOTH),
        ("one serves", seen((ENVOY, 2), (POOL, 1), pods=(ENVOY, POOL), pool=True), BOTH),
        ("all serve, nobody would ask them", seen((ENVOY, 2), (POOL, 2), pods=(ENVOY, POOL)), BOTH),
        ("all serve", seen((ENVOY, 2), (POOL, 2), pods=(ENVOY, POOL), pool=True), LEAD),
        ("the old one goes", seen((ENVOY, 2), (POOL, 2), pods=(ENVOY, POOL), pool=True, deleting=ENVOY), LEAD),
        ("its pods drain", seen((POOL, 2), pods=(ENVOY, POOL), pool=True), LEAD),
        ("it is over", seen((POOL, 2), pods=(POOL,), pool=True), ONE),
    ],
)
def test_from_envoy_to_a_pool(moment: str, observed: Observed, expected: Routers) -> None:
    assert routers(observed, POOL, ENVOY, 2, needs_pool=True) == expected, moment


def test_the_way_back_needs_no_pool() -> None:
    observed = seen((ENVOY, 2), (POOL, 2), pods=(ENVOY, POOL), pool=True)
    assert routers(observed, ENVOY, POOL, 2, needs_pool=False) == LEAD


def test_a_change_of_mind_finds_the_old_routers_serving() -> None:
    observed = seen((ENVOY, 2), (POOL, 0), pods=(ENVOY, POOL))
    assert routers(observed, ENVOY, POOL, 2, needs_pool=False) == LEAD
