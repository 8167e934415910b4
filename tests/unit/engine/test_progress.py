"""Telling a hanging engine from a busy and from an idle one: a pure decision over looks."""

import pytest

from manta_runtime.engine.progress import (
    STALL_SECONDS,
    Look,
    Progress,
    after_look,
    describe_stall,
    describe_stalls,
    read_marks,
    wants_token,
)

METRICS = """# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="tiny"} 1.0
vllm:num_requests_waiting{engine="0",model_name="tiny"} 0.0
vllm:num_requests_waiting_by_reason{engine="0",reason="capacity"} 0.0
vllm:kv_cache_usage_perc{engine="0",model_name="tiny"} 0.25
vllm:iteration_tokens_total_bucket{engine="0",le="1.0"} 4.0
vllm:iteration_tokens_total_count{engine="0"} 9.0
http_requests_total{handler="/metrics"} 3.0
"""
A, B = ("iterations 1",), ("iterations 2",)


def after(*looks: tuple[float, tuple[str, ...], int]) -> Progress:
    progress = Progress()
    for now, marks, unanswered in looks:
        progress = after_look(progress, Look(marks, unanswered), now)
    return progress


PAST = STALL_SECONDS + 2


@pytest.mark.parametrize(
    ("progress", "now", "stalled"),
    [
        pytest.param(after((0, A, 0), (500, A, 0)), 510, False, id="idle for long"),
        pytest.param(after((0, A, 0), (500, A, 1)), 510, False, id="asked just now after idling"),
        pytest.param(after((0, A, 1), (50, A, 1)), PAST, True, id="a request and no step"),
        pytest.param(after((-500, A, 0), (0, A, 1)), PAST, True, id="a request that met a hung engine"),
        pytest.param(after((0, A, 1), (50, B, 1)), PAST, False, id="steps go on"),
        pytest.param(after((0, A, 1), (30, A, 0), (50, A, 0)), PAST, True, id="clients gave up, no step since"),
        pytest.param(after((0, A, 1), (30, B, 0)), PAST, False, id="all was answered"),
        pytest.param(after((0, A, 1), (500, A, 1), (501, B, 0)), 502, False, id="a step after a stall"),
    ],
)
def test_a_stall_is_a_wait_without_a_step(progress, now, stalled):
    assert bool(describe_stall(progress, now)) is stalled


def test_the_reason_says_how_many_wait_and_how_long():
    progress = after((100, A, 0), (101, A, 1))
    assert describe_stall(progress, 101 + STALL_SECONDS - 0.1) == ""
    assert describe_stall(progress, 163) == "vLLM has 1 unanswered request and has made no progress for 62 s"
    assert "2 unanswered requests" in describe_stall(after_look(progress, Look(A, 2), 163), 163)


def test_a_token_is_asked_for_before_the_verdict_and_never_when_idle():
    waiting = after((0, A, 1))
    assert not wants_token(waiting, STALL_SECONDS / 2 - 1)
    assert wants_token(waiting, STALL_SECONDS / 2)
    assert not wants_token(after((0, A, 0)), 1000)
    assert not wants_token(after((0, A, 1), (40, B, 0)), 1000)


def test_marks_are_what_steps_of_the_engine_move():
    marks = read_marks(METRICS)["0"]
    assert [line.partition("{")[0].removeprefix("vllm:") for line in marks] == [
        "num_requests_running",
        "num_requests_waiting",
        "kv_cache_usage_perc",
        "iteration_tokens_total_count",
    ]
    assert read_marks(METRICS.replace(" 0.25", " 0.50"))["0"] != marks
    assert read_marks(METRICS.replace('/metrics"} 3', '/metrics"} 4'))["0"] == marks
    assert read_marks("process_cpu_seconds_total 1.0\n") == {}


def test_every_engine_of_a_data_parallel_replica_has_marks_of_its_own():
    two = METRICS + METRICS.replace('engine="0"', 'model_name="m",engine="1"').replace(" 9.0", " 5.0")
    marks = read_marks(two)
    assert sorted(marks) == ["0", "1"]
    assert len(marks["0"]) == len(marks["1"]) == 4
    moved = read_marks(two.replace(" 9.0", " 10.0"))
    assert moved["0"] != marks["0"]
    assert moved["1"] == marks["1"]
    assert sorted(read_marks("vllm:num_requests_running 1.0\n")) == ["0"]


def test_a_hang_of_one_engine_is_seen_while_another_makes_progress():
    busy, hung = Progress(), Progress()
    for now in range(0, 65, 5):
        busy = after_look(busy, Look((f"iterations {now}",), 2), now)
        hung = after_look(hung, Look(A, 2), now)
    assert describe_stalls({"0": busy, "1": busy}, 62) == ""
    words = describe_stalls({"0": busy, "1": hung}, 62)
    assert words == "vLLM has 2 unanswered requests and has made no progress for 62 s in data rank 1 of 2"
    assert describe_stalls({"0": hung, "1": hung}, 62).endswith("in data rank 0, 1 of 2")
    assert describe_stalls({"0": hung}, 62) == describe_stall(hung, 62)
