"""The phases of an engine: in order, timed, and moved forward only by what vLLM says."""

import pytest

from manta_runtime.engine.phases import Timeline, begin, describe_last, hear, seconds_by_phase, timeline_json


def timeline_of(*steps: tuple[str, float]) -> Timeline:
    timeline = Timeline()
    for phase, now in steps:
        timeline = begin(timeline, phase, 1000.0 + now, now)
    return timeline


def test_each_phase_ends_where_the_next_begins():
    timeline = timeline_of(("start", 0.0), ("load", 9.0), ("warmup", 12.5))
    assert timeline.phase == "warmup"
    assert seconds_by_phase(timeline, 13.0) == {"start": 9.0, "load": 3.5, "warmup": 0.5}
    assert timeline_json(timeline, 13.0)[1:] == [
        {"phase": "load", "begun": 1009.0, "seconds": 3.5, "over": True},
        {"phase": "warmup", "begun": 1012.5, "seconds": 0.5, "over": False},
    ]


def test_a_phase_that_comes_twice_counts_once_in_all():
    timeline = timeline_of(("warmup", 0.0), ("compile", 1.0), ("warmup", 4.0), ("first-token", 6.0))
    assert seconds_by_phase(timeline, 6.0) == {"warmup": 3.0, "compile": 3.0, "first-token": 0.0}


def test_nothing_begins_twice_in_a_row():
    timeline = timeline_of(("load", 0.0))
    assert begin(timeline, "load", 1.0, 1.0) is timeline


@pytest.mark.parametrize(
    ("now_in", "said", "then_in"),
    [
        ("start", "load", "load"),
        ("start", "first-token", "first-token"),
        ("load", "start", "load"),
        ("warmup", "load", "warmup"),
        ("warmup", "compile", "compile"),
        ("compile", "warmup", "warmup"),
        ("first-token", "warmup", "first-token"),
        ("group", "load", "group"),
        ("ready", "load", "ready"),
        ("draining", "first-token", "draining"),
    ],
)
def test_vllm_moves_the_phase_forward_and_only_while_it_starts(now_in, said, then_in):
    assert hear(timeline_of((now_in, 0.0)), said, 1.0, 1.0).phase == then_in


def test_before_the_first_phase_nothing_is_said():
    assert Timeline().phase is None
    assert describe_last(Timeline()) == ""
    assert hear(Timeline(), "load", 0.0, 0.0) == Timeline()
    assert describe_last(timeline_of(("ray", 0.0))) == "phase ray"
    assert describe_last(timeline_of(("ray", 0.0), ("group", 2.34))) == "phase group, ray took 2.3 s"
