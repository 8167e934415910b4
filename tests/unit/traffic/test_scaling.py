"""The autoscaling driver sees what it is for: late reactions, replicas that turn back, requests that got lost."""

from collections import Counter

import pytest
from traffic.request import Outcome, Request
from traffic.scaling.report import Run, problems, row
from traffic.scaling.shapes import SHAPES, Shape
from traffic.scaling.timeline import Moment, numbers, reaction, replica_seconds, turns

STEP = Shape("step", ((0, 1), (10, 1), (10, 4), (20, 4), (20, 1)), peak=2, end=1)


def moments(*told):
    """(second, StatefulSets, requests that wait) each."""
    return [Moment(at, groups=groups, waiting=waiting) for at, groups, waiting in told]


@pytest.mark.parametrize(("second", "rate"), [(0, 1), (9.9, 1), (10, 4), (19.9, 4), (20, 1), (99, 1)])
def test_a_step_jumps(second, rate):
    assert STEP.rate(second) == rate


def test_a_ramp_rises_evenly():
    ramp = Shape("ramp", ((0, 0), (10, 5)), peak=1, end=1)
    assert [ramp.rate(second) for second in (0, 2, 10, 11)] == [0, 1, 5, 5]


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
def test_every_shape_ends_as_small_as_it_began(shape):
    assert shape.rate(0) == shape.rate(shape.seconds + 1) < max(rate for _, rate in shape.corners)


@pytest.mark.parametrize(
    ("case", "told", "seconds"),
    [
        ("grown after it saturated", moments((0, 1, 0), (12, 1, 3), (15, 2, 3), (16, 2, 0)), 3),
        ("grown before", moments((0, 1, 0), (12, 2, 0), (15, 2, 1), (18, 2, 0)), 0),
        ("never grown", moments((0, 1, 0), (12, 1, 3)), None),
        ("never saturated", moments((0, 1, 0), (12, 2, 0)), None),
        ("what waited before counts not", moments((0, 1, 9), (9, 1, 0), (12, 1, 1), (13, 2, 1), (14, 2, 0)), 1),
        ("chance", moments((0, 1, 0), (12, 1, 1), (12.5, 1, 0), (20, 1, 1), (21, 2, 1), (22, 2, 0)), 1),
        ("no chance", moments((0, 1, 0), (12, 1, 1), (14, 1, 0), (20, 1, 1), (21, 2, 1), (22, 2, 0)), 9),
        ("with a pause", moments((0, 1, 0), (12, 1, 1), (13, 1, 0), (13.5, 1, 1), (14, 1, 0), (20, 2, 0)), 8),
    ],
)
def test_a_reaction_is_timed_from_the_first_request_that_waits(case, told, seconds):
    found = reaction(told, 10)
    assert (found and found.seconds) == seconds, case


def test_what_a_timeline_says():
    told = moments((0, 1, 0), (10, 3, 0), (11, 3, 5), (20, 2, 0), (30, 3, 0), (40, 1, 0))
    assert numbers(told) == [1, 3, 2, 3, 1]
    assert turns(told) == 3
    assert replica_seconds(told, 50) == 10 + 30 + 20 + 30 + 10


def outcome(number, fate="ok", *, refused=False, detail=""):
    request = Request(str(number), 3, stream=True, fresh=True)
    return Outcome(request, fate, detail, 0.0, 1.0, first=0.5, refused=refused)


def test_a_row_tells_refused_from_lost_and_what_was_asked_of_it():
    told = moments((-5, 1, 0), (12, 1, 3), (19, 2, 3), (40, 1, 0))
    outcomes = [outcome(1), outcome(2), outcome(3, "failed", refused=True), outcome(4, "lost", detail="hung up")]
    found = row(Run("step", 0, STEP, unanswered=1), outcomes, Counter({"1": 2}), told, 50)
    assert (found["sent"], found["ok"], found["refused"], found["lost"], found["duplicated"]) == (5, 2, 1, 2, 1)
    assert (found["replicas"], found["peak"], found["reaction_s"], found["saturated_s"]) == ([1, 2, 1], 2, 7, 28)
    assert found["replica_seconds"] == 19 + 42 + 10
    assert len(problems(found, STEP)) == 2
    fine = found | {"lost": 0, "duplicated": 0, "reaction_s": 5.0}
    assert problems(fine, STEP) == []
    assert problems(fine | {"wake_s": 1.2, "first_token_beyond_start_s": 2.4, "peak": 1}, STEP) == [
        "1 replicas at most, 2 at least were needed",
        "1.2 s from a request at zero to a StatefulSet, 1.0 at most",
        "the first token came 2.4 s after the engine's start, 2.0 at most",
    ]
