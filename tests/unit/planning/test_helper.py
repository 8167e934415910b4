"""What Degraded says of a container beside the engine that ends again and again, while the engine itself is ready."""

import pytest

from manta_operator.planning.conditions import Situation, conditions
from manta_operator.planning.fit import Fit
from manta_operator.planning.observed import Observed, ObservedPod
from manta_operator.planning.plan import Plan
from manta_operator.planning.shape import Shape

PLAN = Plan(Shape(1, 1, 1, "uni"), Fit("True", "it fits"), "new", (), (), ())


def degraded(ended, *, ready=False, deleting=False):
    pod = ObservedPod("demo-new-0-0", "demo-new-0", ready, None, deleting=deleting, helper_ended=ended)
    judged = conditions(Situation(1, 1, PLAN, (), Observed(pods=(pod,))))
    return next(each for each in judged if each.type == "Degraded")


@pytest.mark.parametrize(
    ("case", "found", "expected"),
    [
        ("again and again", degraded(3), "True HelperFailing"),
        ("once or twice", degraded(2), "False Sound"),
        ("something else keeps it from serving", degraded(None), "False Sound"),
        ("it runs again", degraded(3, ready=True), "False Sound"),
        ("the pod goes", degraded(3, deleting=True), "False Sound"),
    ],
)
def test_a_helper_that_fails_is_told(case, found, expected):
    assert f"{found.status} {found.reason}" == expected, case


def test_which_one_and_where_its_log_is():
    assert degraded(4).message == (
        "pod demo-new-0-0 gets no requests, although its engine is ready: container adapters ended 4 times; "
        "see the log of container adapters; the engine is left alone"
    )
