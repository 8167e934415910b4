"""Whatever is said to it, `decide` answers within bounds: numbers that are none, clocks that jump, engines that lie."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manta_operator.scaling.decide import decide
from manta_operator.scaling.settings import Behaviour, Estimate, Settings, Target
from manta_operator.scaling.signals import Demand, EngineSignals, Histogram, Replicas, Signals
from manta_operator.scaling.state import State

ESTIMATE = Estimate(prefill_tokens_per_s=10_000.0, decode_tokens_per_s=1e9, cold_start=60.0)
ANY = st.one_of(
    st.floats(0, 1e6), st.floats(), st.sampled_from([math.nan, math.inf, -math.inf, -1.0, 0.0, 1e18, 1e300, 5e-324])
)
COUNT = st.one_of(st.integers(0, 50), st.integers(-10, 10**30))
CLOCK = st.one_of(st.floats(0, 1e5), ANY)
HISTOGRAM = st.none() | st.builds(
    lambda counts: Histogram((0.1, 1.0), counts), st.tuples(st.integers(-5, 10**20), st.integers(0, 50), COUNT)
)
TOKENS = st.none() | ANY
ENGINE = st.builds(EngineSignals, COUNT, COUNT, ANY, TOKENS, TOKENS, HISTOGRAM, HISTOGRAM)
SIGNALS = st.builds(
    Signals,
    now=CLOCK,
    replicas=st.builds(Replicas, COUNT, COUNT, COUNT, COUNT),
    demand=st.none() | st.builds(Demand, ANY, ANY, ANY, ANY, COUNT, COUNT, ANY, ANY, st.booleans()),
    engines=st.dictionaries(st.sampled_from("abc"), ENGINE, max_size=3),
    cold_start=st.none() | ANY,
    rolling=st.booleans(),
)


@settings(deadline=None, max_examples=150)
@given(st.lists(SIGNALS, min_size=1, max_size=5), st.integers(0, 3), st.integers(3, 40), st.booleans())
def test_anything_at_all_is_answered_within_bounds(looks, least, most, measured):
    chosen = Settings(ESTIMATE, least=least, most=most, target=Target(measured=measured, between_tokens=0.1))
    state = State()
    for signals in looks:
        decision, state = decide(chosen, state, signals)
        assert least <= decision.replicas <= most
        assert all(math.isfinite(value) for value in decision.numbers.values())
        assert decision.reason


def steady(looks, waiting=(), chosen=None, *, in_flight=8, asked=4):
    """So many looks, 2 s apart, at 20 requests a second (two replicas as estimated); the last engines say `waiting`."""
    chosen = chosen or Settings(ESTIMATE, most=40, interval=2.0, behaviour=Behaviour(hold=60.0))
    state, decision = State(), None
    for index in range(looks):
        now = 2.0 * (index + 1)
        engines = {f"e{i}": EngineSignals(0, 2, 0.0, 10e3 * now / 2, 10.0 * now) for i in range(4)}
        lies = {f"e{i}": EngineSignals(count, 0, 0.0, 10e3 * now / 2, 10.0 * now) for i, count in enumerate(waiting)}
        seen = Demand(20 * now, 20e3 * now, 400 * now, 20 * now, in_flight)
        signals = Signals(now, Replicas(asked, asked), seen, engines | lies, 60.0)
        decision, state = decide(chosen, state, signals)
        asked = decision.replicas
    return decision


def test_one_engine_that_lies_about_its_queue_moves_nothing_that_routers_contradict():
    honest = steady(60)
    assert steady(60, [10**6]).replicas <= honest.replicas + 1
    assert steady(60, [10**6] * 4, in_flight=0).replicas <= honest.replicas + 1


@pytest.mark.parametrize("jump", [-1e6, 1e6, math.nan])
def test_a_clock_that_jumps_takes_nothing_away_and_adds_nothing(jump):
    state, asked = State(), 6
    for index in range(100):
        now = 5.0 * (index + 1)
        seen = Demand(40 * now, 40e3 * now, 400 * now, 40 * now, 8)
        decision, state = decide(Settings(ESTIMATE, most=40), state, Signals(now, Replicas(asked, asked), seen))
        asked = decision.replicas
    decision, _ = decide(Settings(ESTIMATE, most=40), state, Signals(500 + jump, Replicas(asked, asked), seen))
    assert decision.replicas == asked


def test_bounds_that_are_narrowed_hold_at_once():
    chosen = Settings(ESTIMATE, most=2, interval=2.0)
    decision, _ = decide(chosen, State(), Signals(2.0, Replicas(9, 9), None))
    assert (decision.replicas, decision.because) == (2, "most")


def test_a_router_that_cannot_be_read_counts_up_and_not_down():
    def look(state, now, requests, asked, *, partial):
        seen = Demand(requests, requests * 1000, requests * 10, requests, 1, partial=partial)
        return decide(chosen, state, Signals(now, Replicas(asked, asked), seen, {}, 60.0))

    chosen, state, requests = Settings(ESTIMATE, most=40, behaviour=Behaviour(hold=60.0)), State(), 0
    for index in range(30):
        requests += 5
        _, state = look(state, 5.0 * (index + 1), requests, 9, partial=False)
    less, _ = look(state, 155.0, requests, 9, partial=True)
    more, _ = look(state, 155.0, requests + 5000, 9, partial=True)
    down, _ = look(state, 155.0, requests, 9, partial=False)
    assert (less.replicas, less.because) == (9, "partial")
    assert down.replicas < 9 < more.replicas


def test_a_rollout_keeps_what_is_asked_for():
    chosen, state = Settings(ESTIMATE, least=0, most=40, idle_seconds=30.0, behaviour=Behaviour(hold=30.0)), State()
    found = []
    for index in range(40):
        signals = Signals(5.0 * (index + 1), Replicas(3, 3), Demand(9, 9, 9, 9, 0), {}, 60.0, index < 30)
        decision, state = decide(chosen, state, signals)
        found.append(decision.replicas)
    assert found[:30] == [3] * 30
    assert decision.because == "idle"
    assert found[-1] == 0
