"""Telling a hanging engine from a busy and from an idle one: a pure decision over looks."""

import asyncio

import pytest

from manta_runtime.engine import progress as progress_module
from manta_runtime.engine import stalls
from manta_runtime.engine.failure import EngineFailure
from manta_runtime.engine.progress import (
    BLIND,
    IDLE_SECONDS,
    STALL_SECONDS,
    Look,
    Progress,
    after_look,
    describe_stall,
    describe_stalls,
    forgive,
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
    ("progress", "stalled"),
    [
        pytest.param(after((0, A, 0), (500, A, 0)), False, id="idle for long"),
        pytest.param(after((0, A, 0), (500, A, 1), (510, A, 1)), False, id="asked just now after idling"),
        pytest.param(after((0, A, 1), (50, A, 1), (PAST, A, 1)), True, id="a request and no step"),
        pytest.param(after((-500, A, 0), (0, A, 1), (PAST, A, 1)), True, id="a request that met a hung engine"),
        pytest.param(after((0, A, 1), (50, B, 1), (PAST, B, 1)), False, id="steps go on"),
        pytest.param(after((0, A, 1), (30, A, 0), (PAST, A, 0)), True, id="clients gave up, no step since"),
        pytest.param(after((0, A, 1), (30, B, 0), (PAST, B, 0)), False, id="all was answered"),
        pytest.param(after((0, A, 1), (500, A, 1), (501, B, 0)), False, id="a step after a stall"),
        pytest.param(after((0, A, 1), (PAST, B, 1)), False, id="a step while nobody could look"),
        pytest.param(after((0, A, 1), (10, A, 1)), False, id="not looked at since"),
    ],
)
def test_a_stall_is_a_wait_without_a_step(progress, stalled):
    assert bool(describe_stall(progress)) is stalled


def test_the_reason_says_how_many_wait_and_how_long():
    progress = after((100, A, 0), (101, A, 1))
    assert describe_stall(after_look(progress, Look(A, 1), 101 + STALL_SECONDS - 0.1)) == ""
    stalled = after_look(progress, Look(A, 1), 163)
    assert describe_stall(stalled) == "vLLM has 1 unanswered request and has made no progress for 62 s"
    assert "2 unanswered requests" in describe_stall(after_look(progress, Look(A, 2), 163))


@pytest.mark.parametrize(
    ("looks", "wanted"),
    [
        pytest.param([(0, A, 1), (STALL_SECONDS / 2 - 1, A, 1)], False, id="waits a little"),
        pytest.param([(0, A, 1), (STALL_SECONDS / 2, A, 1)], True, id="waits for long"),
        pytest.param([(0, A, 1), (40, B, 0), (80, B, 0)], False, id="answered and idle"),
        pytest.param([(0, A, 0), (IDLE_SECONDS - 1, A, 0)], False, id="idle for a little"),
        pytest.param([(0, A, 0), (IDLE_SECONDS, A, 0)], True, id="idle or hung, who knows"),
        pytest.param([(0, A, 0), (30, B, 0), (IDLE_SECONDS, B, 0)], False, id="a step not long ago"),
    ],
)
def test_a_token_is_asked_for_before_the_verdict_and_when_idle_for_long(looks, wanted):
    assert wants_token(after(*looks)) is wanted


def test_what_the_launcher_slept_through_is_forgiven():
    waiting = after((0, A, 1), (50, A, 1))
    woken = after_look(forgive(waiting, 500), Look(A, 1), 555)
    assert woken.waited == 55
    assert describe_stall(woken) == ""
    assert describe_stall(after_look(woken, Look(A, 1), 565))
    idle = forgive(after((0, A, 0), (10, A, 0)), 500)
    assert not wants_token(after_look(idle, Look(A, 0), 515))


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
    for now in range(0, 63, 2):
        busy = after_look(busy, Look((f"iterations {now}",), 2), now)
        hung = after_look(hung, Look(A, 2), now)
    assert describe_stalls({"0": busy, "1": busy}) == ""
    words = describe_stalls({"0": busy, "1": hung})
    assert words == "vLLM has 2 unanswered requests and has made no progress for 62 s in data rank 1 of 2"
    assert describe_stalls({"0": hung, "1": hung}).endswith("in data rank 0, 1 of 2")
    assert describe_stalls({"0": hung}) == describe_stall(hung)


class Hung:
    """An engine that takes requests and never steps; its count of requests is off by one that left."""

    asked = 0
    given_up = 0

    async def look(self):
        return {"0": Look(A, -1 + self.asked - self.given_up)}

    async def produce_token(self, _data_rank):
        self.asked += 1
        try:
            return await asyncio.get_running_loop().create_future()
        finally:
            self.given_up += 1


async def test_tokens_that_do_not_come_are_given_up_and_asked_for_anew_until_it_is_a_hang(monkeypatch):
    monkeypatch.setattr(stalls, "_LOOK_SECONDS", 0.01)
    monkeypatch.setattr(progress_module, "IDLE_SECONDS", 0.05)
    monkeypatch.setattr(progress_module, "STALL_SECONDS", 0.1)
    monkeypatch.setattr(progress_module, "ASKED_SECONDS", 0.05)
    engine, told = Hung(), []
    with pytest.raises(EngineFailure, match="1 unanswered request"):
        await stalls.watch_progress(engine, told.append, 1.0)
    assert engine.asked == engine.given_up >= 3
    assert told[0] == ""
    assert "no progress" in told[-1]


class Looks:
    """An engine whose looks are given, one by one; the last one again and again."""

    def __init__(self, *looks):
        self.looks = list(looks)

    async def look(self):
        return self.looks.pop(0) if len(self.looks) > 1 else self.looks[0]


async def told_of(engine, hang_seconds, enough):
    """Everything that is told of the engine, until `enough` says that it is enough."""
    told, done = [], asyncio.Event()

    def tell(stall):
        told.append(stall)
        if enough(told):
            done.set()

    watch = asyncio.create_task(stalls.watch_progress(engine, tell, hang_seconds))
    async with asyncio.timeout(60):
        await done.wait()
    watch.cancel()
    await asyncio.gather(watch, return_exceptions=True)
    return told


STEPS = {"0": Look(A, 0)}


@pytest.mark.parametrize(
    ("looks", "told"),
    [
        pytest.param([{}], [BLIND], id="never: at once"),
        pytest.param([{}, STEPS], [BLIND, ""], id="it tells after all"),
        pytest.param([STEPS, {}, {}], ["", "", ""], id="not for a moment"),
        pytest.param([{}, None, STEPS], [BLIND, BLIND, ""], id="no answer proves nothing"),
    ],
)
async def test_an_engine_that_nobody_can_watch_is_not_for_requests(looks, told, monkeypatch, caplog):
    monkeypatch.setattr(stalls, "_LOOK_SECONDS", 0.01)
    assert (await told_of(Looks(*looks), 300.0, lambda heard: len(heard) == len(told)))[: len(told)] == told
    assert ("leave --disable-log-stats out" in caplog.text) is (BLIND in told)


async def test_an_engine_that_stops_telling_is_not_ready_after_hang_seconds(monkeypatch):
    monkeypatch.setattr(stalls, "_LOOK_SECONDS", 0.01)
    told = await told_of(Looks(STEPS, {}), 0.2, lambda heard: BLIND in heard)
    assert set(told[: told.index(BLIND)]) == {""}
