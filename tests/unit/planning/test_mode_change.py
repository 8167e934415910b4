"""What routers there are while spec.router.mode changes: the sequence, and what must never happen in it."""

from dataclasses import replace
from typing import Any

import pytest

from manta_operator.planning.mode_change import PATIENCE_SECONDS, SETTLE_SECONDS, Routers, routers
from manta_operator.planning.observe import slim
from manta_operator.planning.observe_route import observe_route
from manta_operator.planning.observed import Observed, ObservedRoute, ObservedRouter

ENVOY, POOL = "demo-router", "demo-epp"
ONE = Routers()
BOTH = Routers(both=True, keep=True, admit_both=True)
LEAD = Routers(admit_both=True)


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
    assert routers(observed, POOL, ENVOY, 2, to_pool=True) == expected, moment


def test_the_way_back_needs_no_pool() -> None:
    observed = seen((ENVOY, 2), (POOL, 2), pods=(ENVOY, POOL), pool=True)
    assert routers(observed, ENVOY, POOL, 2, to_pool=False) == LEAD


def test_a_change_of_mind_finds_the_old_routers_serving() -> None:
    observed = seen((ENVOY, 2), (POOL, 0), pods=(ENVOY, POOL))
    assert routers(observed, ENVOY, POOL, 2, to_pool=False) == LEAD


def kept(seconds: float) -> Routers:
    return Routers(keep=True, admit_both=True, again_in=seconds)


@pytest.mark.parametrize(
    ("moment", "route", "expected"),
    [
        ("no route, no Gateway", None, LEAD),
        ("it leads to the old ones until this pass", ObservedRoute(to_pool=False), kept(SETTLE_SECONDS)),
        ("it was refused, and still does", ObservedRoute(to_pool=False, taken=True, age=1e6), kept(SETTLE_SECONDS)),
        ("just written", ObservedRoute(to_pool=True), kept(PATIENCE_SECONDS)),
        ("nobody has said anything", ObservedRoute(to_pool=True, age=20), kept(PATIENCE_SECONDS - 20)),
        ("nobody ever will", ObservedRoute(to_pool=True, age=PATIENCE_SECONDS), LEAD),
        ("taken at once", ObservedRoute(to_pool=True, taken=True, age=1), kept(SETTLE_SECONDS - 1)),
        ("taken, and its proxies have heard of it", ObservedRoute(to_pool=True, taken=True, age=SETTLE_SECONDS), LEAD),
        ("a Gateway knows no pools", ObservedRoute(to_pool=True, refusal="no", age=1e6), kept(PATIENCE_SECONDS)),
    ],
)
def test_the_old_routers_stay_until_the_gateways_lead_elsewhere(
    moment: str, route: ObservedRoute | None, expected: Routers
) -> None:
    observed = seen((ENVOY, 2), (POOL, 2), pods=(ENVOY, POOL), pool=True)
    assert routers(replace(observed, route=route), POOL, ENVOY, 2, to_pool=True) == expected, moment


SPEC = {"parentRefs": [{"name": "edge"}], "rules": [{"backendRefs": [{"kind": "InferencePool", "name": "demo"}]}]}


def told(accepted: str, resolved: str, generation: int = 2) -> dict[str, Any]:
    said = {"Accepted": accepted, "ResolvedRefs": resolved}
    conditions = [
        {"type": kind, "status": status, "message": f"{kind}!", "observedGeneration": generation}
        for kind, status in said.items()
    ]
    return {"parentRef": {"name": "edge"}, "conditions": conditions}


@pytest.mark.parametrize(
    ("moment", "parents", "taken", "refusal"),
    [
        ("nobody has said anything", [], False, ""),
        ("taken", [told("True", "True")], True, ""),
        ("said of what it was before", [told("True", "True", 1)], False, ""),
        ("refused of what it was before", [told("True", "False", 1)], False, ""),
        ("not let in", [told("False", "True")], False, ""),
        ("no such kind", [told("True", "False")], False, "ResolvedRefs!"),
        ("one of two", [told("True", "True"), told("True", "True", 1)], False, ""),
    ],
)
def test_what_gateways_say_of_the_route(moment: str, parents: list[Any], taken: bool, refusal: str) -> None:
    body = {"metadata": {"name": "demo", "uid": "u", "generation": 2}, "spec": SPEC, "status": {"parents": parents}}
    for seen_as in (body, slim("HTTPRoute", body)):
        assert observe_route(seen_as, 3.0) == ObservedRoute(True, taken, refusal, 3.0), moment


def test_every_gateway_that_is_named_has_to_say_so() -> None:
    two = SPEC | {"parentRefs": [{"name": "edge"}, {"name": "lan"}]}
    body = {"metadata": {"generation": 2}, "spec": two, "status": {"parents": [told("True", "True")]}}
    assert not observe_route(body, 0.0).taken
