"""Autoscaled, and what Ready and Available say while replicas follow the demand."""

from dataclasses import replace

import pytest
from make import deployment

from manta_operator.planning.autoscale import Scaling
from manta_operator.planning.conditions import Situation, conditions
from manta_operator.planning.fit import Fit
from manta_operator.planning.observe import Observed, ObservedGroup, ObservedPod
from manta_operator.planning.plan import Plan, Rollout, Trouble
from manta_operator.planning.shape import Shape
from manta_operator.planning.status import status

SETTLED = Rollout("settled", "Settled", "all serve")
STARTING = Rollout("starting", "Starting", "1 of 3 replicas of revision new serve")
SCALING = Rollout("scaling", "ScalingDown", "1 of 1 replica of revision new serve; 1 other still to drain")
ROLLING = Rollout("rolling", "RollingOut", "1 of 2 replicas of revision new serve")
LATE = Rollout("starting", "ProgressDeadlineExceeded", "1 of 3 replicas of revision new serve; no place")
TOLD = {
    "replicas": 3,
    "reason": "Needed",
    "message": "3 replicas stay: the load of now needs 2.6",
    "numbers": {"need": 2.6},
}
FOLLOWING = Scaling(TOLD, 1, 6, hold_seconds=900)
ROUTERS = tuple(f"demo-router-{index}" for index in range(5))
NO_PLACE = Trouble("demo-new-2", "pod demo-new-2-0: 0/3 nodes are available", late=True, waits=True)


def group(index: int, *, ready: bool = True, revision: str = "new", **more) -> ObservedGroup:
    return ObservedGroup(f"demo-{revision}-{index}", "uid", revision, index, 1, int(ready), **more)


def situation(scaling=FOLLOWING, *, asked=3, ready=3, rollout=SETTLED, troubles=(), **more) -> Situation:
    groups = more.pop("groups", tuple(group(index, ready=index < ready) for index in range(asked)))
    made = Plan(Shape(1, 1, 1, "uni"), Fit("True", "it fits"), "new", (), (), (), rollout=rollout, troubles=troubles)
    observed = Observed(groups, more.pop("pods", ()), router_ready=more.pop("routers", 1))
    return Situation(asked, 1, made, (), observed, scaling=scaling)


def judged(given: Situation, kind: str) -> tuple[str, str]:
    found = next(each for each in conditions(given) if each.type == kind)
    return f"{found.status} {found.reason}", found.message


PAUSED = Rollout("paused", "Failing", "paused", replicas=6, new=1, new_ready=0, old=2, old_ready=2)
HALF = (group(0, revision="old"), group(1, revision="old"), group(0, ready=False))
AT_MOST = {"reason": "AtMost", "message": "", "numbers": {"need": 7.44}}
WOKEN = Scaling({"replicas": 1, "changes": [{"fromReplicas": 0, "toReplicas": 1}]}, 0, 6, hold_seconds=900)
CASES = {
    "follows": (situation(), "True Following", TOLD["message"]),
    "has just begun": (
        situation(replace(FOLLOWING, decided=False, told={"message": "begun with 3 replicas"})),
        "Unknown Watching", "3 replicas for now; begun with 3 replicas",
    ),
    "no router can be read": (
        situation(replace(FOLLOWING, missing=("demo-router-0",), missing_since="2026-01-01T00:00:00Z", blind=True)),
        "False SignalsMissing", "since 2026-01-01T00:00:00Z (demo-router-0), and missing demand is not zero demand",
    ),
    "no router answers": (
        situation(replace(FOLLOWING, blind=True)), "False SignalsMissing", "no router can be read (none answers), and",
    ),
    "no router serves": (
        situation(replace(FOLLOWING, blind=True), routers=0),
        "Unknown Watching", "nobody tells of the demand: 3 replicas stay until one does",
    ),
    "no router can be read at zero": (
        situation(replace(FOLLOWING, blind=True, missing=ROUTERS[:1]), asked=0),
        "False SignalsMissing", "(demo-router-0), so that no request starts a replica until one can; look at",
    ),
    "a bug": (
        situation(replace(FOLLOWING, fault="ZeroDivisionError: division by zero", blind=True)),
        "False InternalError", "3 replicas stay, since deciding fails: ZeroDivisionError: division by zero; this is",
    ),
    "some routers cannot be read": (
        situation(replace(FOLLOWING, missing=ROUTERS)),
        "False SignalsMissing", "(demo-router-0, demo-router-1, demo-router-2 and 2 more): what the others see may",
    ),
    "no place": (
        situation(
            replace(FOLLOWING, unschedulable=1),
            pods=[ObservedPod("demo-new-2-0", "demo-new-2", ready=False, problem="0/3 nodes", unschedulable_since=1.0)],
        ),
        "False NoRoom", "1 of 3 replicas waits for a place (0/3 nodes); free accelerators or add nodes, or set "
        "spec.autoscaling.maxReplicas to 2; the others go on",
    ),
    "no place for the first": (
        situation(replace(FOLLOWING, unschedulable=1, least=0), asked=1),
        "False NoRoom", "1 of 1 replica waits for a place; free accelerators or add nodes; the others",
    ),
    "an HPA": (
        situation(replace(FOLLOWING, owner="kube-controller-manager")),
        "False SecondOwner", "kube-controller-manager has written spec.replicas by the scale subresource, and",
    ),
    "an HPA, and no router can be read": (
        situation(replace(FOLLOWING, owner="keda-operator", blind=True)),
        "False SignalsMissing", "operator reach their port 9002; besides, keda-operator has written spec.replicas",
    ),
    "an HPA is to rule": (
        situation(replace(FOLLOWING, owner="kube-controller-manager")),
        "False SecondOwner", "set spec.replicas to what is needed (3 now) in the same change that leaves out",
    ),
    "it was left out": (
        situation(Scaling({"replicas": 3, "message": "spec.autoscaling was left out"}, 3, 3, off=True)),
        "False TurnedOff", "spec.autoscaling was left out",
    ),
    "more are needed while a rollout is paused": (
        situation(replace(FOLLOWING, told=AT_MOST), asked=6, groups=HALF, rollout=PAUSED),
        "False RolloutPaused", "6 replicas are asked for and 2 serve, but the rollout of revision new is paused and",
    ),
    "a rollout is paused and as many are there as are asked for": (
        situation(asked=3, groups=HALF, rollout=PAUSED), "True Following", TOLD["message"],
    ),
    "a rollout is paused, and its replicas serve": (
        situation(asked=6, groups=HALF, rollout=replace(PAUSED, new_ready=1)), "True Following", TOLD["message"],
    ),
    "zero": (
        situation(asked=0), "True Asleep", "nobody asks: requests wait in the router for up to 900 s until the first",
    ),
    "at the bound": (
        situation(replace(FOLLOWING, told={"reason": "AtMost", "message": "", "numbers": {"need": 7.44}})),
        "True AtMost", "7.4 replicas are needed, and spec.autoscaling.maxReplicas allows 6",
    ),
    "at the bound by a rounding": (
        situation(replace(FOLLOWING, told={"reason": "AtMost", "message": "", "numbers": {"need": 5.9}})),
        "True AtMost", "more are needed, and",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("given", "verdict", "words"), CASES.values(), ids=CASES)
def test_each_situation_has_its_name_and_its_words(given, verdict, words):
    found, message = judged(given, "Autoscaled")
    assert found == verdict
    assert words in message


def test_without_autoscaling_there_is_no_such_condition():
    assert "Autoscaled" not in {each.type for each in conditions(situation(None))}


READY = {
    "replicas are added": (situation(ready=1, rollout=STARTING), "True ScalingUp"),
    "replicas go": (situation(asked=1, rollout=SCALING), "True AllServing"),
    "one added waits for a place for long": (situation(ready=2, rollout=LATE, troubles=(NO_PLACE,)), "True ScalingUp"),
    "one added crashes": (
        situation(ready=2, rollout=LATE, troubles=(replace(NO_PLACE, waits=False),)), "False ProgressDeadlineExceeded",
    ),
    "fewer than minReplicas serve": (
        situation(replace(FOLLOWING, least=2), ready=1, rollout=STARTING), "False Starting",
    ),
    "none serves": (situation(ready=0, rollout=STARTING), "False Starting"),
    "a rollout": (situation(ready=2, rollout=ROLLING), "False RollingOut"),
    "older ones serve": (
        situation(groups=(group(0, revision="old"), group(0, ready=False)), rollout=STARTING), "False Starting",
    ),
    "zero": (situation(replace(FOLLOWING, least=0), asked=0), "True ScaledToZero"),
    "zero, and the last one drains": (situation(asked=0, rollout=SCALING), "True ScaledToZero"),
    "no signals": (situation(replace(FOLLOWING, missing=ROUTERS)), "True AllServing"),
    "woken": (situation(WOKEN, asked=1, ready=0, rollout=STARTING), "False Waking"),
    "the first crashes": (
        situation(WOKEN, asked=1, ready=0, rollout=replace(STARTING, reason="Failing")), "False Failing",
    ),
    "replicas are added by a person": (situation(None, ready=1, rollout=STARTING), "False Starting"),
}  # fmt: skip


@pytest.mark.parametrize(("given", "verdict"), READY.values(), ids=READY)
def test_ready_does_not_wait_for_what_the_autoscaler_adds(given, verdict):
    assert judged(given, "Ready")[0] == verdict


def test_what_users_meet_at_zero_is_said():
    asleep = situation(replace(FOLLOWING, least=0), asked=0)
    for kind in ("Ready", "Available"):
        assert "requests wait in the router for up to 900 s" in judged(asleep, kind)[1]
    woken = situation(WOKEN, asked=1, ready=0, rollout=STARTING)
    assert judged(woken, "Available")[0] == "False Waking"
    assert "requests wait in the router" in judged(woken, "Ready")[1]


def test_a_replica_that_served_and_crashed_does_not_wake():
    crashed = group(0, ready=False, members=(ObservedPod("a", "g", ready=False, problem=None, ready_since=5.0),))
    assert judged(situation(WOKEN, asked=1, groups=(crashed,)), "Available")[0] == "False NotServing"


def test_the_status_holds_what_was_told():
    found = status(deployment(), situation(), {}, "2026-01-01T00:00:00Z")
    assert (found["autoscaling"], found["desiredReplicas"]) == (TOLD, 3)
    assert {"reason": "Autoscaled", "message": TOLD["message"]} in found["decisions"]
    plain = status(deployment(), situation(None), {}, "2026-01-01T00:00:00Z")
    assert "autoscaling" not in plain
    assert "Autoscaled" not in {each["reason"] for each in plain["decisions"]}
