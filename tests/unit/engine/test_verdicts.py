"""Readiness, drain, and the question whether the head is gone: pure decisions."""

from dataclasses import replace

import pytest

from manta_runtime.engine.drain import DrainView, count_in_flight, decide
from manta_runtime.engine.group import Group, Member
from manta_runtime.engine.head_link import (
    REFUSED_SECONDS,
    UNHEARD_SECONDS,
    Silence,
    after_failure,
    is_gone,
)
from manta_runtime.engine.readiness import Health, judge_head, judge_worker

ALONE = Group(epoch="e", size=1, pod_prefix="tiny")
WELL = Health(started=True, healthy=True, produced=True)
ONE_OF_TWO = Group(epoch="e", size=2, pod_prefix="tiny")
RANK_1 = Member(1, "10.0.0.1", "tiny-1", "i", "joined", 0.0)


@pytest.mark.parametrize(
    ("group", "health", "ready", "words"),
    [
        (ALONE, WELL, True, "serving"),
        (ALONE, Health(), False, "not started"),
        (ALONE, Health(started=True), False, "/health"),
        (ALONE, Health(started=True, healthy=True), False, "token"),
        (ALONE, replace(WELL, healthy=False), False, "/health"),
        (ALONE, replace(WELL, waits="its adapters are not loaded yet: a"), False, "not loaded yet: a"),
        (ALONE, replace(WELL, stall="no progress for 62 s"), False, "no progress for 62 s"),
        (ONE_OF_TWO, WELL, False, "ranks [1] have not joined"),
        (replace(ONE_OF_TWO, members=(RANK_1,)), WELL, True, "serving"),
        (replace(ONE_OF_TWO, members=(RANK_1,), lost="rank 1 is silent"), WELL, False, "rank 1 is silent"),
        (replace(ALONE, stage="draining"), WELL, False, "draining"),
        (replace(ALONE, stage="done"), WELL, False, "draining"),
    ],
)
def test_a_head_is_ready_only_when_tokens_can_come(group, health, ready, words):
    verdict = judge_head(group, health)
    assert verdict.ready is ready
    assert words in verdict.message


@pytest.mark.parametrize(
    ("joined", "stopping", "ready"),
    [(True, False, True), (False, False, False), (True, True, False)],
)
def test_a_worker_is_ready_while_it_is_in_its_group(joined, stopping, ready):
    assert judge_worker(joined, stopping).ready is ready


LOOK = DrainView(elapsed=5.0, deadline=60.0, announced=True, in_flight=0, quiet=2.0, hurried=False)


@pytest.mark.parametrize(
    ("view", "action", "words"),
    [
        (LOOK, "stop", "drained after 5.0 s"),
        (replace(LOOK, quiet=1.9), "wait", "0 requests in flight"),
        (replace(LOOK, in_flight=1, quiet=0.0), "wait", "1 request in flight, 5 s of 60 s"),
        (replace(LOOK, in_flight=None, quiet=0.0), "wait", "an unknown number of requests"),
        (replace(LOOK, in_flight=3, quiet=0.0, elapsed=60.0), "kill", "not drained within 60 s, 3 requests"),
        (replace(LOOK, in_flight=None, quiet=0.0, elapsed=61.0), "kill", "unknown number"),
        (replace(LOOK, in_flight=3, quiet=0.0, hurried=True), "kill", "a second time"),
        (replace(LOOK, deadline=0.0, elapsed=0.0, quiet=0.0, in_flight=1), "kill", "not drained within 0 s"),
        (replace(LOOK, deadline=0.0, elapsed=0.0, quiet=0.0), "stop", "drained after 0.0 s"),
        (replace(LOOK, announced=False), "wait", "0 requests in flight, 5 s of 60 s"),
        (replace(LOOK, announced=False, elapsed=6.0), "stop", "drained after 6.0 s"),
    ],
)
def test_drain_decisions(view, action, words):
    step = decide(view)
    assert step.action == action
    assert words in step.message


def test_in_flight_is_running_plus_waiting_over_all_engines():
    metrics = """# HELP vllm:num_requests_running Number of requests
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="tiny"} 2.0
vllm:num_requests_running{engine="1",model_name="tiny"} 1.0
vllm:num_requests_waiting{engine="0",model_name="tiny"} 4.0
vllm:num_requests_waiting_by_reason{engine="0",reason="capacity"} 4.0
"""
    assert count_in_flight(metrics) == 7
    assert count_in_flight("vllm:num_requests_running 0.0\n") == 0


def test_in_flight_is_unknown_without_the_metrics():
    assert count_in_flight("") is None
    assert count_in_flight("process_cpu_seconds_total 1.0\n") is None


def test_a_refusing_head_is_gone_soon():
    silence = after_failure(after_failure(Silence(), True, 10.0), True, 12.0)
    assert not is_gone(silence, 10.0 + REFUSED_SECONDS - 0.1)
    assert is_gone(silence, 10.0 + REFUSED_SECONDS)


def test_a_slow_head_is_given_more_time():
    silence = after_failure(Silence(), False, 10.0)
    assert not is_gone(silence, 10.0 + REFUSED_SECONDS + 1)
    assert is_gone(silence, 10.0 + UNHEARD_SECONDS)


def test_a_timeout_between_refusals_starts_the_short_clock_again():
    silence = after_failure(after_failure(Silence(), True, 0.0), False, 2.0)
    assert not is_gone(after_failure(silence, True, 3.0), 4.0)
    assert not is_gone(Silence(), 1000.0)
