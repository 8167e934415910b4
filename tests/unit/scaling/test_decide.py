"""What the autoscaler promises, whatever the numbers: bounds, no fewer for more, nothing taken away in the dark."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manta_operator.scaling.decide import decide
from manta_operator.scaling.settings import Behaviour, Estimate, Settings, SettingsError, Target
from manta_operator.scaling.signals import Demand, EngineSignals, Histogram, Replicas, Signals
from manta_operator.scaling.state import State

# A replica does ten requests a second: 1,000 prompt tokens each, nothing for the answer.
ESTIMATE = Estimate(prefill_tokens_per_s=10_000.0, decode_tokens_per_s=1e9, cold_start=60.0)
PLAIN = Settings(ESTIMATE, most=40)


def demand(requests, *, in_flight=50, held=0, answers=None):
    ended = requests if answers is None else answers
    return Demand(requests, requests * 1000.0, ended * 10.0, ended, in_flight, held)


def engine(waiting=0, requests=0.0):
    return EngineSignals(waiting, 1, 0.1, requests * 1000.0, requests * 10.0)


def play(rates, chosen=PLAIN, state=None, start=0.0, asked=1, cold_start=60.0, held=0, starts_in=0.0):
    """One decision every 5 s, of so many requests a second each; what is asked for is ready after `starts_in` (s)."""
    state, total, now, decisions = state or State(), 0.0, start, []
    of_late = [asked] * (1 + round(starts_in / 5.0))
    for rate in rates:
        total += rate * 5.0
        now += 5.0
        of_late = [*of_late[1:], asked]
        ready = min(of_late)
        signals = Signals(now, Replicas(asked, ready, asked - ready), demand(total, held=held), {}, cold_start)
        decision, state = decide(chosen, state, signals)
        decisions.append(decision)
        asked = decision.replicas
    return decisions, state


def look(state, chosen, *, now, requests, asked, cold_start=60.0, engines=None, starting=0, held=0):
    seen = None if requests is None else demand(requests, held=held)
    return decide(
        chosen, state, Signals(now, Replicas(asked, asked - starting, starting), seen, engines or {}, cold_start)
    )


def total_of(state):
    return state.demand.requests


def test_a_steady_load_gets_what_it_needs_and_says_why():
    decisions, _ = play([40.0] * 60)
    # 40 a second fill 4 replicas as estimated, 5 with a fifth off the estimate, 5.6 at a use of 90 %.
    assert 6 <= decisions[-1].replicas <= 8
    assert decisions[-1].numbers["load"] == pytest.approx(5.0)
    assert f"{decisions[-1].replicas} replicas stay" in decisions[-1].reason


def test_a_jump_is_answered_at_the_first_look_that_shows_it():
    decisions, _ = play([10.0] * 60 + [60.0] * 3)
    assert decisions[59].replicas <= 3
    assert decisions[60].replicas > decisions[59].replicas
    assert decisions[62].replicas >= 8


@settings(deadline=None, max_examples=40)
@given(st.lists(st.floats(0, 200), min_size=5, max_size=60), st.floats(0, 100), st.floats(0, 100), st.integers(1, 40))
def test_more_demand_never_asks_for_fewer_replicas(past, rate, more, asked):
    _, state = play(past)
    found = [
        look(state, PLAIN, now=state.now + 5, requests=total_of(state) + each * 5, asked=asked)[0].replicas
        for each in (rate, rate + more)
    ]
    assert found[0] <= found[1]


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.floats(0, 1000), min_size=1, max_size=60),
    st.integers(0, 5),
    st.integers(5, 30),
    st.integers(0, 60),
    st.integers(0, 500),
)
def test_within_bounds_always(rates, least, most, asked, held):
    decisions, _ = play(rates, Settings(ESTIMATE, least=least, most=most), asked=asked, held=held)
    assert all(least <= decision.replicas <= most for decision in decisions)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.floats(0, 200), min_size=1, max_size=60), st.integers(1, 40), st.floats(1, 10_000))
def test_missing_signals_never_scale_down(past, asked, later):
    _, state = play(past)
    decision, after = look(state, PLAIN, now=state.now + later, requests=None, asked=asked)
    assert decision.replicas == asked
    assert "missing demand is not zero demand" in decision.reason
    assert after.bins == state.bins


def test_demand_that_comes_back_after_a_gap_is_watched_before_anything_is_taken_away():
    decisions, state = play([100.0] * 100)
    asked, total, now = decisions[-1].replicas, total_of(state), state.now + 200
    for _ in range(50):
        decision, state = look(state, PLAIN, now=now, requests=total, asked=asked)
        assert decision.replicas >= asked
        now += 5
    assert "watched" in decision.reason


def test_without_demand_full_engines_ask_for_more_once():
    engines = {f"r{i}": engine(waiting=3) for i in range(4)}
    decision, state = look(State(), PLAIN, now=5.0, requests=None, asked=4, engines=engines)
    assert decision.replicas == 5
    again, _ = look(state, PLAIN, now=10.0, requests=None, asked=5, engines=engines, starting=1)
    assert again.replicas == 5


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 40), st.floats(0, 1e9), st.integers(1, 30))
def test_a_restart_never_scales_down_at_once(asked, start, looks):
    decisions, _ = play([0.0] * looks, start=start, asked=asked)
    assert [decision.replicas for decision in decisions] == [asked] * looks


def test_a_clock_that_jumps_back_takes_nothing_away():
    decisions, state = play([100.0] * 100 + [1.0] * 30)
    asked, total = decisions[-1].replicas, total_of(state)
    decision, state = look(state, PLAIN, now=7.0, requests=total, asked=asked)
    assert decision.replicas == asked
    assert state.since == 7.0
    decision, _ = look(state, PLAIN, now=1e9, requests=total, asked=asked)
    assert decision.replicas == asked


def test_it_goes_down_after_the_window_and_gently():
    chosen = replace(PLAIN, behaviour=Behaviour(hold=60.0, down_share=0.5, down_seconds=60.0))
    decisions, _ = play([100.0] * 40 + [10.0] * 60, chosen, asked=20)
    counts = [decision.replicas for decision in decisions]
    most = counts[39]
    assert counts[40:51] == [most] * 11, "the window keeps what was needed in it"
    lowest = counts[-1]
    assert lowest <= 3
    for index in range(len(counts) - 12):
        assert counts[index + 11] >= counts[index] // 2, "no more than half within a minute"


def test_replicas_that_start_are_counted():
    _, state = play([40.0] * 60)
    requests, now = total_of(state) + 200, state.now + 5
    ready, _ = look(state, PLAIN, now=now, requests=requests, asked=7)
    starting, _ = look(state, PLAIN, now=now, requests=requests, asked=7, starting=5)
    assert ready.replicas == starting.replicas
    assert "5 starting" in starting.reason


def test_replicas_without_a_place_freeze_nothing():
    _, state = play([100.0] * 60, asked=20)
    signals = Signals(state.now + 5, Replicas(20, 15, 0, 5), demand(total_of(state) + 1500), {}, 60.0)
    decision, _ = decide(PLAIN, state, signals)
    assert decision.replicas > 20
    assert "5 without a place" in decision.reason


@settings(deadline=None, max_examples=30)
@given(st.lists(st.floats(0, 200), min_size=20, max_size=90), st.floats(0, 100), st.floats(1, 900), st.floats(1, 900))
def test_a_longer_cold_start_never_asks_for_fewer(past, rate, one, other):
    _, state = play(past)
    found = [
        look(state, PLAIN, now=state.now + 5, requests=total_of(state) + rate * 5, asked=5, cold_start=start)[
            0
        ].replicas
        for start in sorted((one, other))
    ]
    assert found[0] <= found[1]


def test_zero_after_idle_time_and_one_at_the_first_request():
    chosen = Settings(ESTIMATE, least=0, most=10, idle_seconds=120.0)
    state, now, asked = State(), 0.0, 3
    for _ in range(30):
        now += 5
        signals = Signals(now, Replicas(asked, asked), Demand(10, 1000, 100, 10, 0), {}, 60.0)
        decision, state = decide(chosen, state, signals)
        assert decision.replicas == (0 if now >= 5 + 120 else 3)
        asked = decision.replicas
    signals = Signals(now + 1, Replicas(0, 0), Demand(11, 1100, 100, 10, 0, held=1), {}, 60.0)
    decision, _ = decide(chosen, state, signals)
    assert decision.replicas >= 1


def test_queues_teach_what_a_replica_can_do():
    state, now, served = State(), 0.0, 0.0
    for _ in range(60):
        now += 5
        served += 25.0  # five a second: half of what was estimated
        engines = {f"r{i}": engine(waiting=4, requests=served) for i in range(4)}
        decision, state = look(state, PLAIN, now=now, requests=served * 4, asked=4, engines=engines)
    assert decision.numbers["speed"] == pytest.approx(0.5, abs=0.03)


def test_what_is_served_without_queues_is_what_can_be_served():
    state, now, served = State(), 0.0, 0.0
    for _ in range(240):
        now += 5
        served += 100.0  # twice as fast as estimated
        decision, state = look(state, PLAIN, now=now, requests=served, asked=1, engines={"r1": engine(requests=served)})
    assert decision.numbers["speed"] == pytest.approx(2.0, abs=0.05)


@pytest.mark.parametrize(("late", "moved"), [(50, True), (0, False)])
def test_measured_lateness_raises_the_need(late, moved):
    chosen = replace(PLAIN, target=Target(measured=True, first_token=1.0))
    state, now = State(), 0.0
    for index in range(1, 10):
        now += 5
        seen = replace(engine(requests=10.0 * index), first_token=Histogram((1.0,), (50 * index, late * index)))
        decision, state = look(state, chosen, now=now, requests=10 * index, asked=2, engines={"r1": seen})
    assert (decision.numbers["margin"] > 1.1) is moved


def test_the_same_is_decided_again():
    rates = [float(10 + index % 7) for index in range(200)]
    assert play(rates) == play(rates)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Settings(ESTIMATE, least=5, most=2), "minReplicas 5 and maxReplicas 2"),
        (lambda: Estimate(0.0, 1.0), "prefill_tokens_per_s"),
        (lambda: Target(utilisation=1.5), "utilisation is 1.5"),
        (lambda: Target(objective=1.0), "objective"),
    ],
)
def test_settings_that_mean_nothing_are_refused(make, says):
    with pytest.raises(SettingsError, match=says):
        make()


def test_an_engine_that_counts_no_tokens_teaches_nothing():
    state, untold = State(), EngineSignals(8, 4, 0.9, None, None)
    asked = 1
    for step in range(12):
        decision, state = look(state, PLAIN, now=step * 5.0, requests=float(step), asked=asked, engines={"a": untold})
        asked = decision.replicas
    assert state.capacity == State().capacity


def test_chance_about_a_whole_number_moves_nothing():
    # 64 a second need 8.9 to 9 replicas without any chance; a little more and a little less again is no news.
    rates = [64.0 + (0.6 if index // 40 % 2 else -0.6) for index in range(600)]
    counts = {decision.replicas for decision in play(rates, asked=9)[0][200:]}
    assert len(counts) == 1


@pytest.mark.parametrize("start", [120.0, 0.0], ids=["while they start", "when all are ready"])
def test_nothing_is_given_up_before_its_own_start_has_passed(start):
    chosen = replace(PLAIN, behaviour=Behaviour(hold=5.0, down_share=1.0))
    decisions, _ = play([10.0] * 40 + [60.0] + [10.0] * 60, chosen, cold_start=120.0, starts_in=start)
    counts = [decision.replicas for decision in decisions]
    raised = next(index for index in range(40, 100) if counts[index] > counts[39])
    last = max(index for index in range(40, 101) if counts[index] > counts[index - 1])
    kept = round(start / 5.0)
    assert min(counts[raised : last + max(1, kept)]) == counts[raised]
    assert (decisions[last + 20].because == "starting") is (start > 0)
    assert counts[-1] == counts[39]


@pytest.mark.parametrize(("ready", "least"), [(1, 60.0), (4, 30.0)], ids=["while they start", "when all are ready"])
def test_after_a_restart_nothing_goes_before_there_is_a_rate_and_a_start_has_passed(ready, least):
    chosen = replace(PLAIN, behaviour=Behaviour(hold=0.0, down_share=1.0))
    state, kept = State(), 0
    for step in range(1, 60):
        decision, state = look(state, chosen, now=step * 2.0, requests=0.0, asked=4, starting=4 - ready)
        kept += decision.replicas == 4
    assert least - 4 <= kept * 2.0 <= least + 4


@pytest.mark.parametrize(("every", "learns"), [(1, True), (2, True), (8, False)])
def test_what_queues_teach_survives_looks_that_are_missing(every, learns):
    state, served = State(), 0.0
    for index in range(1, 120):
        served += 10.0  # five a second: half of what was estimated
        engines = {f"r{i}": engine(waiting=4, requests=served) for i in range(4)} if index % every == 0 else {}
        decision, state = look(state, PLAIN, now=2.0 * index, requests=served * 4, asked=4, engines=engines)
    assert (decision.numbers["speed"] == pytest.approx(0.5, abs=0.03)) is learns
