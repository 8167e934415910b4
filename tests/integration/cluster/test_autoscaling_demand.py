"""Replicas that follow the demand: who owns the number, zero and back, a restart in the middle, what has no place.

Routers are the tests' own (tests/support/scaling_router.py). A request there is 0.35 s of a replica as estimated.
"""

import time

import pytest
from cluster_space import KIND
from running import only_all
from scaling_space import scaled

from manta_operator.box.cluster import ApiError

BUSY, QUIET = 6.0, 0.2
"""Requests a second: of three replicas at least, and of one."""
UP_SECONDS = 60
WAKE_SECONDS = 2.0
"""A second is meant (`make autoscaling` measures it); this machine does other work beside."""


@pytest.fixture
def demo(space):
    """A deployment of one replica that scales itself, and its router."""
    with scaled(space, "demo") as [found]:
        found.serves(1)
        yield found


def grown(demo, least=3):
    """Let requests come until that many replicas are there; what they are."""
    demo.router.load(BUSY)
    demo.space.until("it has grown", lambda: demo.look() >= least and len(demo.groups) >= least, UP_SECONDS)
    return demo.groups


def test_replicas_follow_the_demand_and_the_spec_stays(demo):
    """Up with the demand, down without it; the status says why, and spec.replicas is nobody's any more."""
    spec = demo.space.get(KIND, "demo")["spec"]
    grown(demo)
    demo.router.load(QUIET)
    demo.serves(1, seconds=120)
    told = demo.space.status("demo")["autoscaling"]
    assert told["replicas"] == 1
    ups = [each for each in told["changes"] if each["toReplicas"] > each["fromReplicas"]]
    assert ups
    assert "need" in ups[-1]["message"]
    demo.autoscaled("True", "Following")
    assert demo.space.get(KIND, "demo")["spec"] == spec


@pytest.mark.parametrize(
    ("manager", "method"), [("kube-controller-manager", "PUT"), ("kubectl", "PATCH"), ("keda", "PATCH")]
)
def test_a_second_owner_is_named_and_not_followed(demo, manager, method):
    """An HPA, KEDA or `kubectl scale` beside spec.autoscaling: the demand rules, and the condition says who writes."""
    write(demo.space, manager, method, 4)
    told = demo.autoscaled("False", "SecondOwner")
    assert manager in told["message"]
    demo.space.stays("one replica", lambda: demo.groups == demo.groups[:1], seconds=5)
    assert demo.space.get(KIND, "demo")["spec"]["replicas"] == 4
    grown(demo)


def write(space, manager, method, replicas):
    """Write the scale subresource as that field manager."""
    path = space.cluster.path(KIND, space.name, "demo", "scale")
    query = {"fieldManager": manager}
    if method == "PATCH":
        body = {"spec": {"replicas": replicas}}
        return space.cluster.call("PATCH", path, body, "application/merge-patch+json", query=query)
    while True:
        body = space.cluster.call("GET", path)
        body["spec"]["replicas"] = replicas
        try:
            return space.cluster.call("PUT", path, body, query=query)
        except ApiError as error:  # the operator has written the status meanwhile
            if error.reason != "Conflict":
                raise


def test_an_hpa_is_followed_where_nothing_else_scales(space):
    """Without spec.autoscaling the number is whose who writes it, and no condition speaks of autoscaling."""
    space.make("demo")
    space.serving("demo")
    write(space, "kube-controller-manager", "PUT", 3)
    space.until("three replicas", lambda: len(space.groups("demo")) == 3)
    space.serving("demo")
    with pytest.raises(KeyError):
        space.judged("demo", "Autoscaled")


def test_autoscaling_that_is_taken_away_leaves_the_number_to_the_spec(demo):
    """spec.autoscaling is removed: nothing goes at once, and spec.replicas rules once it is set to what is there."""
    grown(demo)
    there = demo.groups
    demo.space.change("demo", autoscaling=None)
    told = demo.autoscaled("False", "TurnedOff")
    assert f"{len(there)} replicas stay for now" in told["message"]
    demo.space.stays("what serves", lambda: demo.groups == there, seconds=5)
    demo.space.change("demo", replicas=len(there))
    demo.space.until("nothing is told of it", lambda: "autoscaling" not in demo.space.status("demo"))
    assert demo.groups == there
    demo.space.scale("demo", 1)
    demo.space.until("one replica", lambda: len(demo.groups) == 1)


def test_zero_and_back_within_a_second(space):
    """Nobody asks: the last replica goes. A request is held: one is made at once, and serves it."""
    zero = {"afterSeconds": 10, "holdSeconds": 120}
    with scaled(space, "demo", minReplicas=0, scaleToZero=zero) as [demo]:
        demo.serves(1)
        demo.serves(0, seconds=120)
        demo.autoscaled("True", "Asleep")
        took = []
        for _ in range(2):
            demo.router.hold(1)
            began = time.monotonic()
            space.until("a replica is made", lambda: demo.groups)
            took.append(time.monotonic() - began)
            demo.serves(1)
            demo.router.hold(0)
            demo.serves(0, seconds=120)
        assert min(took) < WAKE_SECONDS, took


@only_all
def test_what_finds_no_place_waits_and_the_others_follow(space):
    """Two GPUs, and demand for more: one replica serves beside, the condition says what is missing, down works."""
    for number in range(2):
        space.played.add_node(f"gpu{number}", gpus=1)
    gpus = {"model": {"uri": "hf://example/demo"}, "accelerator": {"type": "nvidia-h100-80gb", "perPod": 1}}
    with scaled(space, "demo", spec=gpus) as [demo]:
        demo.serves(1)
        demo.router.load(10 * BUSY)
        demo.space.until("both places are taken", lambda: demo.look() == 2 and len(demo.groups) > 2, UP_SECONDS)
        told = demo.autoscaled("False", "NoRoom", seconds=120)
        assert "place" in told["message"]
        demo.router.load(0)
        demo.serves(1, seconds=120)
        demo.autoscaled("True", "Following")
