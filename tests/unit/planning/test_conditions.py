"""The conditions: what each situation is called, and when a transition time moves."""

import pytest
from make import statefulset

from manta_operator.planning.conditions import Condition, Situation, conditions, merge
from manta_operator.planning.fit import Choice, Fit
from manta_operator.planning.observe import observe
from manta_operator.planning.plan import plan
from manta_operator.planning.problems import Problem
from manta_operator.planning.shape import Shape

CHOICE = Choice(Shape(1, 1, 1, "uni"), Fit("True", "it fits"))
PENDING = {
    "metadata": {"name": "demo-new-0-0"},
    "status": {
        "conditions": [
            {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "1 Insufficient memory"}
        ]
    },
}
CRASHING = {
    "metadata": {"name": "demo-new-0-0"},
    "status": {
        "containerStatuses": [
            {
                "name": "engine",
                "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}},
                "lastState": {"terminated": {"message": "loading\nout of memory"}},
            }
        ]
    },
}


def situation(*, replicas=1, groups=(), pods=(), routers=1, problems=(), failure=None) -> Situation:
    observed = observe(groups, pods, [{"status": {"readyReplicas": routers}}])
    made = None if problems else plan("demo", replicas, CHOICE, "new", observed)
    return Situation(replicas, 1, made, tuple(problems), observed, failure)


SERVING = statefulset("demo-new-0", "new", 0, ready=1)
STARTING = statefulset("demo-new-0", "new", 0, ready=0)
OLD = statefulset("demo-old-0", "old", 0, ready=1)


@pytest.mark.parametrize(
    ("case", "given", "expected"),
    [
        (
            "all serves",
            situation(groups=[SERVING]),
            ["True Planned", "False Settled", "True Serving", "True AllServing"],
        ),
        (
            "starting",
            situation(groups=[STARTING]),
            ["True Planned", "True Starting", "False NotServing", "False Starting"],
        ),
        (
            "rolling out",
            situation(groups=[OLD, STARTING]),
            ["True Planned", "True Starting", "True Serving", "False Starting"],
        ),
        (
            "scaled down: the surplus has not left",
            situation(groups=[SERVING, statefulset("demo-new-1", "new", 1, ready=1)]),
            ["True Planned", "True Pruning", "True Serving", "False Pruning"],
        ),
        (
            "no router",
            situation(groups=[SERVING], routers=0),
            ["True Planned", "False Settled", "False NotServing", "False RouterNotReady"],
        ),
        (
            "at zero",
            situation(replicas=0),
            ["True Planned", "False Settled", "False ScaledToZero", "True ScaledToZero"],
        ),
        (
            "cannot be planned",
            situation(problems=[Problem("spec.x", "is wrong", "mend it")]),
            ["False InvalidSpec", "False NotPlanned", "False NotServing", "False InvalidSpec"],
        ),
        (
            "refused by the API server",
            situation(groups=[SERVING], failure=("Forbidden", "apply Service default/demo: no")),
            ["True Planned", "False Forbidden", "True Serving", "False Forbidden"],
        ),
    ],
)
def test_conditions(case, given, expected):
    assert [f"{entry.status} {entry.reason}" for entry in conditions(given)] == expected, case


@pytest.mark.parametrize(
    ("pod", "words"),
    [
        (PENDING, "pod demo-new-0-0: Unschedulable: 1 Insufficient memory"),
        (CRASHING, "CrashLoopBackOff: back-off 10s; it last said: out of memory"),
    ],
)
def test_the_reason_of_a_pod_reaches_the_condition(pod, words):
    by_type = {entry.type: entry for entry in conditions(situation(groups=[STARTING], pods=[pod]))}
    assert words in by_type["Ready"].message
    assert words in by_type["Available"].message


def test_the_transition_time_moves_with_the_status_alone():
    first = merge([Condition("Ready", "False", "Starting", "0 of 1")], [], 1, "t1")
    same = merge([Condition("Ready", "False", "Starting", "0 of 1, still")], first, 2, "t2")
    turned = merge([Condition("Ready", "True", "AllServing", "1 of 1")], same, 2, "t3")
    assert [entry[0]["lastTransitionTime"] for entry in (first, same, turned)] == ["t1", "t1", "t3"]
    assert same[0]["message"] == "0 of 1, still"
    assert same[0]["observedGeneration"] == 2


@pytest.mark.parametrize(
    ("replicas", "words"), [(1, "1 replica and the router serve"), (2, "all 2 replicas and the router serve")]
)
def test_the_message_of_ready_counts_in_english(replicas, words):
    groups = [statefulset(f"demo-new-{index}", "new", index, ready=1) for index in range(replicas)]
    assert conditions(situation(replicas=replicas, groups=groups))[-1].message == words
