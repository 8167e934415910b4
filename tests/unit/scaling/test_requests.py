"""What a mean request is: of late, with an answer of no tokens, or with one that is not finished for long."""

import pytest

from manta_operator.scaling import demand
from manta_operator.scaling.decide import decide
from manta_operator.scaling.settings import Estimate, Settings
from manta_operator.scaling.signals import Demand, EngineSignals, Replicas, Signals
from manta_operator.scaling.state import State


def test_embeddings_have_answers_of_no_tokens():
    estimate = Estimate(10_000.0, 1_000.0, cold_start=60.0)
    state, decision = State(), None
    for step in range(40):
        seen = Demand(50.0 * step, 5000.0 * step, 0.0, 50.0 * step, 1)
        decision, state = decide(Settings(estimate), state, Signals(5.0 * step, Replicas(1, 1), seen, {}, 60.0))
    # Ten prompts of 100 tokens a second: a tenth of a replica as estimated, an eighth with a fifth off.
    assert decision.numbers["load"] == pytest.approx(0.125, rel=0.01)


def test_a_mean_request_is_one_of_late():
    estimate = Estimate(10_000.0, 1e9, cold_start=60.0)
    state = demand.observe(State(), Demand(5e6, 5e8, 0.0, 0.0, 0), 0.0, estimate, 60.0)
    for index in range(1, 4):
        seen = Demand(5e6 + 500 * index, 5e8 + 15e6 * index, 0.0, 0.0, 0)
        state = demand.observe(state, seen, 2.0 * index, estimate, 60.0)
    # Short ones of 100 tokens for weeks, now 30,000 each: 3 s of a replica.
    assert demand.each(state, estimate)[0] == pytest.approx(3.0, rel=0.15)


def test_answers_of_many_minutes_count_before_any_has_ended():
    state = State()
    for index in range(1, 300):
        # One request each 20 s for ten minutes, each of 50 tokens a second, and none has ended.
        running, made = index // 10, sum(50.0 * 2.0 * (i // 10) for i in range(index))
        engines = {"r1": EngineSignals(0, running, 0.1, 0.0, made)}
        seen = Demand(index // 10, 100.0 * (index // 10), 0.0, 0.0, running)
        _, state = decide(
            Settings(Estimate(10_000.0, 1e9)), state, Signals(2.0 * index, Replicas(1, 1), seen, engines, 60.0)
        )
    assert 5_000 < demand.answer(state.per_answer, state.made) < 30_000
    assert demand.answer((100.0, 1.0), (100.0, 5_000.0)) == 100.0


def test_one_long_answer_at_the_beginning_is_one_of_many():
    known, seen = None, Demand(0.0, 0.0, 0.0, 0.0, 0)
    for tokens in (1_000, *[40] * 19):
        before, seen = seen, Demand(seen.requests + 1, 0.0, seen.tokens_out + tokens, seen.answers + 1, 0)
        known = demand.mean_answer(before, seen, known)
    assert demand.answer(known) == pytest.approx((1_000 + 19 * 40) / 20)


def test_a_restarted_operator_knows_a_mean_answer_from_the_routers_counters():
    estimate = Estimate(10_000.0, 1_000.0)
    state = demand.observe(State(), Demand(5_000.0, 5e5, 47.0 * 4_990, 4_990.0, 10), 0.0, estimate, 60.0)
    assert demand.answer(state.per_answer, state.made) == pytest.approx(47.0)


def test_what_was_there_before_the_first_look_makes_no_answer_longer():
    """31 requests wait when the operator comes back, and few come after them: engines make tokens for both."""
    state = State()
    for index in range(31):
        engines = {"r1": EngineSignals(0, 4, 0.1, 0.0, 68.0 * 2 * index)}
        seen = Demand(5_000.0 + index, 0.0, 47.0 * 4_969, 4_969.0, 31 - index)
        signals = Signals(2.0 * index, Replicas(1, 1), seen, engines, 60.0)
        _, state = decide(Settings(Estimate(10_000.0, 1_000.0)), state, signals)
    # 60 seconds of 68 tokens for 61 requests of 47: without those of before it would be 136 for each that came.
    assert demand.answer(state.per_answer, state.made) < 70
