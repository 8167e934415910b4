"""What finds no room is answered at the second look that sees it, whatever the estimate; zero wakes, and stays."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manta_operator.scaling.decide import decide
from manta_operator.scaling.saturation import doubtful
from manta_operator.scaling.settings import Behaviour, Estimate, Settings
from manta_operator.scaling.signals import Demand, EngineSignals, Replicas, Signals
from manta_operator.scaling.state import State

WRONG = Estimate(prefill_tokens_per_s=1e9, decode_tokens_per_s=1e9, cold_start=60.0)
"""A replica is thought to do anything at once."""

CHOSEN = Settings(WRONG, most=40, interval=2.0)


def look(state, now, replicas, *, waiting=0, held=0, running=4, chosen=CHOSEN, requests=None):
    engines = {f"e{i}": EngineSignals(waiting, running, 0.5, 50.0 * now, 50.0 * now) for i in range(replicas.ready)}
    came = now if requests is None else requests
    in_flight = replicas.ready * (running + waiting)
    seen = Demand(came, 100 * came, 100 * came, came, in_flight, held, 6.0 if held else 0.0)
    return decide(chosen, state, Signals(now, replicas, seen, engines, 60.0))


@settings(deadline=None, max_examples=60)
@given(
    st.integers(1, 30), st.integers(0, 20), st.integers(0, 60), st.integers(1, 30), st.integers(0, 5), st.integers(0, 9)
)
def test_two_looks_that_find_no_room_ask_for_more_than_is_ready(ready, waiting, held, running, starting, without):
    if waiting < 2 and not held:
        held = 1
    replicas = Replicas(ready + starting + without, ready, starting, without)
    state, decision = State(), None
    for now in (2.0, 4.0):
        decision, state = look(state, now, replicas, waiting=waiting, held=held, running=running)
        assert decision.replicas >= min(40, replicas.asked)
    assert decision.replicas >= min(40, ready + 1)
    if not starting and not without:
        assert decision.because in ("saturated", "need", "step", "most")


def test_what_starts_already_is_counted_and_the_rest_comes_by_doubling():
    state = State()
    for now in (2.0, 4.0):
        decision, state = look(state, now, Replicas(2, 2), waiting=3, held=90)
    assert (decision.replicas, decision.because) == (4, "saturated")
    for now in (6.0, 8.0, 10.0):
        decision, state = look(state, now, Replicas(4, 2, 2), waiting=3, held=90)
        assert decision.replicas == 4
    decision, state = look(state, 12.0, Replicas(4, 4), waiting=3, held=90)
    assert decision.replicas == 8


def told(now, waiting, *, ready):
    engines = {f"e{i}": EngineSignals(each, 4, 0.5, 50.0 * now, 50.0 * now) for i, each in enumerate(waiting)}
    seen = Demand(now, 100 * now, 100 * now, now, 4 * ready + sum(waiting))
    return Signals(now, Replicas(ready, ready), seen, engines, 60.0)


@pytest.mark.parametrize(
    ("waiting", "more"),
    [((3, 3, 3, 0), True), ((3, 3, 0, 0), False), ((1, 1, 1, 1), False), ((3, 3, 3), True), ((3, 3), False)],
    ids=["one has just become ready", "half of them", "by chance", "one is not seen", "two are not seen"],
)
def test_a_queue_in_most_engines_is_one(waiting, more):
    state = State()
    for now in (2.0, 4.0):
        decision, state = decide(CHOSEN, state, told(now, waiting, ready=4))
    assert (decision.replicas > 4) is more


@pytest.mark.parametrize(
    ("waiting", "places", "more"),
    [((1, 1, 1, 0), 4, True), ((1, 1, 1, 0), 5, False), ((1, 1, 1, 0), None, False), ((1, 1, 0, 0), 4, False)],
    ids=["all places are taken", "there are free ones", "nobody knows", "half of them"],
)
def test_one_that_waits_where_all_places_are_taken_is_a_queue(waiting, places, more):
    chosen, state = replace(CHOSEN, estimate=replace(WRONG, sequences=places)), State()
    for now in (2.0, 4.0):
        decision, state = decide(chosen, state, told(now, waiting, ready=4))
    assert (decision.replicas > 4) is more


def test_a_queue_that_is_gone_at_the_next_look_asks_for_nothing():
    _, state = look(State(), 2.0, Replicas(2, 2), waiting=1)
    decision, state = look(state, 4.0, Replicas(2, 2), waiting=0)
    assert decision.replicas == 2
    decision, _ = look(state, 6.0, Replicas(2, 2), waiting=1)
    assert decision.replicas == 2


def test_only_the_first_look_at_a_queue_is_worth_another_one_soon():
    state, found = State(), []
    for index, waiting in enumerate((0, 9, 9, 9, 0, 9, 9), start=1):
        _, state = look(state, 2.0 * index, Replicas(2, 2), waiting=waiting)
        found.append(doubtful(state))
    assert found == [False, True, False, False, False, True, False]


def test_nothing_is_taken_away_while_requests_find_no_room():
    state = State()
    for index in range(1, 200):
        decision, state = look(state, 2.0 * index, Replicas(5, 3, 2), held=90, requests=1.0)
        assert decision.replicas >= 5


ZERO = Settings(Estimate(1000.0, 1000.0, cold_start=60.0), least=0, most=10, idle_seconds=60.0, interval=2.0)


def test_zero_stays_zero_while_nothing_waits_also_after_a_restart():
    state = State()
    for index in range(1, 50):
        decision, state = look(state, 2.0 * index, Replicas(0, 0), running=0, chosen=ZERO, requests=float(index % 2))
        assert decision.replicas == 0


@pytest.mark.parametrize(("held", "asked"), [(1, 1), (500, 10)])
def test_zero_wakes_at_the_first_look_with_as_many_as_what_waits_needs(held, asked):
    # 500 requests of 0.1 s of prompt and 0.128 s of answer: 143 s for one that does 80 %; a start takes 60 s.
    decision, _ = look(State(), 2.0, Replicas(0, 0), held=held, chosen=ZERO, requests=float(held))
    assert 1 <= decision.replicas <= asked
    assert (decision.replicas > 1) is (held > 100)


def test_idle_time_begins_when_the_first_replica_is_ready():
    state, now, asked = State(), 0.0, 1
    for ready in (0,) * 40 + (1,) * 45:
        now += 2.0
        decision, state = look(state, now, Replicas(1, ready, 1 - ready), running=0, chosen=ZERO, requests=5.0)
        asked = decision.replicas
        assert asked == (0 if now >= 82.0 + 60.0 else 1)


def test_a_replica_that_never_gets_ready_keeps_no_deployment_from_zero():
    state, decision = State(), None
    for index in range(1, 200):
        decision, state = look(state, 2.0 * index, Replicas(1, 0, 1), running=0, chosen=ZERO, requests=5.0)
    assert decision.replicas == 0


@pytest.mark.parametrize(("hold", "until"), [(40.0, 44.0), (90.0, 94.0)])
def test_what_a_queue_asked_for_is_kept(hold, until):
    chosen = Settings(WRONG, most=40, interval=2.0, behaviour=Behaviour(hold=hold))
    state, asked, kept = State(), 2, []
    for index in range(1, 60):
        waiting = 3 if index <= 2 else 0
        decision, state = look(state, 2.0 * index, Replicas(asked, asked), waiting=waiting, chosen=chosen)
        asked = decision.replicas
        kept.append(asked == 4)
    assert [2.0 * index for index, full in enumerate(kept, 1) if full] == [
        4.0 + 2.0 * i for i in range(int(until / 2) - 2)
    ]


def test_of_what_never_becomes_ready_no_more_is_asked_for():
    state = State()
    for index in range(1, 400):
        decision, state = look(
            state, 2.0 * index, Replicas(2, 0, 2), held=10 * index, chosen=ZERO, requests=20.0 * index
        )
    assert (decision.replicas, decision.because) == (2, "broken")


def test_a_router_that_cannot_be_read_wakes_nobody():
    state = State()
    for index in range(1, 20):
        seen = Demand(5.0, 500.0, 500.0, 5.0, 0, partial=True)
        decision, state = decide(ZERO, state, Signals(2.0 * index, Replicas(0, 0), seen, {}, 60.0))
        assert decision.replicas == 0
