"""The simulator keeps its books: hand-computed times, every request once, a full replica as fast as the model says."""

import itertools
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manta_operator.scaling.simulation import synthetic
from manta_operator.scaling.simulation.fleet import Setup
from manta_operator.scaling.simulation.model import EngineModel
from manta_operator.scaling.simulation.outcome import Moment, Slo, reaction
from manta_operator.scaling.simulation.policies import oracle, present
from manta_operator.scaling.simulation.policies.catalogue import PLAIN as EVERY
from manta_operator.scaling.simulation.policies.catalogue import policies
from manta_operator.scaling.simulation.policies.fixed import Timetable, fixed
from manta_operator.scaling.simulation.replica import Job, Replica
from manta_operator.scaling.simulation.run import run
from manta_operator.scaling.simulation.trace import Request, copies, rates, with_past
from manta_runtime.simulator.latency import LatencyModel

# One second a step and a millisecond a prompt token; contexts, sequences and attention cost nothing.
PLAIN = EngineModel(fixed=1.0, per_sequence=0.0, per_prefill_token=0.001, per_pair=0.0, per_context_token=0.0)
REAL = EngineModel(speed=0.25, step_tokens=2048)


def trace_of(*rows):
    return tuple(Request(*row) for row in rows)


def run_out(replica):
    while replica.due >= 0:
        replica.advance()


def test_the_physics_are_those_of_the_engine_simulator():
    ours, theirs = EngineModel(), LatencyModel()
    for name in ("fixed", "per_sequence", "per_prefill_token", "per_context_token"):
        assert getattr(ours, name) == pytest.approx(getattr(theirs, name))


def test_hand_computed():
    replica = Replica(1, PLAIN, 0.0, 0.0)
    job = Job(Request(0.0, 1100, 3))
    replica.submit(job, 0.0)
    assert replica.due == pytest.approx(2.1)
    run_out(replica)
    assert (job.first, job.ended) == (pytest.approx(2.1), pytest.approx(4.1))
    assert (replica.running, replica.held_tokens, replica.todo) == (0, 0, 0)


def test_an_arrival_cuts_steps_that_were_taken_together():
    replica = Replica(1, PLAIN, 0.0, 0.0)
    first, second = Job(Request(0.0, 100, 50), 0), Job(Request(5.5, 100, 2), 1)
    replica.submit(first, 0.0)
    replica.advance()
    assert replica.due == pytest.approx(1.1 + 49)
    replica.submit(second, 5.5)
    # The step under way ends at 6.1; the next one computes the new prompt too.
    assert replica.due == pytest.approx(6.1)
    run_out(replica)
    assert second.first == pytest.approx(7.2)
    assert first.ended == pytest.approx(1.1 + 49 + 0.1)


def test_taken_together_or_one_by_one_is_the_same():
    model = EngineModel()
    single = sum(model.step(7, 0, 0.0, 5000 + 7 * index) for index in range(40))
    assert model.decode(7, 5000, 40) == pytest.approx(single)
    assert model.decode_steps(7, 5000, single - 1e-9) == 40


def test_a_long_prompt_is_computed_in_chunks_and_a_full_cache_lets_wait():
    model = replace(PLAIN, step_tokens=1000, kv_tokens=3000)
    replica = Replica(1, model, 0.0, 0.0)
    jobs = [Job(Request(0.0, 2500, 1), 0), Job(Request(0.0, 2500, 1), 1)]
    for job in jobs:
        replica.submit(job, 0.0)
    assert len(replica.waiting) == 1
    run_out(replica)
    assert jobs[0].first == pytest.approx(3 + 2.5)
    assert jobs[1].first == pytest.approx(2 * (3 + 2.5))


def test_a_full_replica_is_as_fast_as_the_model_says():
    trace = tuple(Request(0.0, 2000, 100) for _ in range(1000))
    outcome = run(trace, fixed(1), Setup(REAL, initial=1))
    work = sum(REAL.work(request) for request in trace)
    assert max(job.ended for job in outcome.jobs) == pytest.approx(work, rel=0.05)


@settings(deadline=None, max_examples=20)
@given(
    st.lists(st.tuples(st.floats(0, 300), st.integers(1, 20_000), st.integers(1, 300)), min_size=1, max_size=60),
    st.lists(st.integers(0, 6), min_size=1, max_size=30),
    st.floats(0, 100),
)
def test_requests_are_conserved(rows, timetable, cold_start):
    """Whatever is asked for and given up in between, each request is answered once, if anything runs at last."""
    trace = tuple(sorted(trace_of(*rows), key=lambda request: request.at))
    setup = Setup(REAL, cold_start=cold_start, initial=1, least=0, most=6)
    outcome = run(trace, lambda _: Timetable([*timetable, 1], 15.0), setup)
    assert len(outcome.jobs) + outcome.refused == len(trace)
    for job in outcome.jobs:
        assert job.request.at < job.first <= job.ended
        assert job.computed == job.request.prompt_tokens
    prompts = sum(replica.counters.prompt_tokens for replica in outcome.replicas)
    answers = sum(replica.counters.generated_tokens for replica in outcome.replicas)
    assert prompts == sum(job.request.prompt_tokens for job in outcome.jobs)
    assert answers == sum(job.request.output_tokens for job in outcome.jobs)


def test_replicas_are_paid_for_from_asking_to_the_end_of_their_draining():
    trace = trace_of((0.0, 100, 100), (100.0, 100, 1))
    setup = Setup(PLAIN, cold_start=30.0, initial=2, most=3)
    outcome = run(trace, lambda _: Timetable([1, 1, 3, 3, 1], 20.0), setup)
    # One throughout; the other initial one goes at once, having nothing to do; two more from 40 to 80 s.
    assert outcome.replica_hours() * 3600 == pytest.approx(100 + 2 * 40)
    ready = {moment.at: moment.ready for moment in outcome.moments}
    assert (ready[60.0], ready[80.0]) == (1, 1)


def test_requests_wait_at_zero_for_the_first_replica():
    setup = Setup(PLAIN, cold_start=30.0, initial=0, least=0)
    outcome = run(trace_of((1.0, 100, 1)), lambda _: Timetable([0, 1], 10.0), setup)
    assert outcome.jobs[0].first == pytest.approx(10 + 30 + 1.1)


def test_the_same_seed_is_the_same_run():
    def one(seed):
        trace = synthetic.make("bursts", rate=3.0, seconds=900, seed=seed)
        outcome = run(trace, policies(trace, Setup(REAL), 2, 4)["manta"], Setup(REAL, cold_start=60))
        return [job.ended for job in outcome.jobs], outcome.moments

    assert one(1) == one(1)
    assert one(1) != one(2)


@pytest.mark.parametrize("name", EVERY)
def test_every_policy_plays_a_ramp(name):
    trace = synthetic.make("ramp", rate=6.0, seconds=900, seed=3)
    setup = Setup(REAL, cold_start=30, initial=2, most=10)
    outcome = run(trace, policies(trace, setup, 2, 4)[name], setup)
    assert all(1 <= moment.asked <= 10 for moment in outcome.moments)
    assert 0 < outcome.replica_hours() <= 10 * 0.25 + 0.5


def test_ours_beats_what_reacts_to_queues_on_a_day():
    trace = synthetic.make("diurnal", rate=12.0, seconds=3600, seed=5)
    setup = Setup(REAL, cold_start=60, initial=3, most=20)
    slo, found = Slo(), {}
    for name in ("manta", "hpa-queue"):
        outcome = run(trace, policies(trace, setup, 3, 6)[name], setup)
        found[name] = outcome.attainment(slo, REAL)
    assert found["manta"] >= 0.97
    assert found["manta"] > found["hpa-queue"]


def test_the_oracle_meets_the_objective_for_less_than_the_peak():
    trace = synthetic.make("step", rate=6.0, seconds=1200, seed=2)
    setup, slo = Setup(REAL, cold_start=60, initial=2, most=10), Slo()
    best = oracle.best(trace, setup, slo, 0.0)
    assert best.outcome.attainment(slo, REAL) >= slo.objective
    assert oracle.bound(oracle.load(trace, setup), setup, 0.0) <= best.hours < 10 * 1200 / 3600


def test_the_oracle_keeps_a_level_over_a_gap_shorter_than_a_start():
    setup = Setup(cold_start=10.0, least=0, most=5)
    # Bins of 5 s: a gap of two bins is bridged, a gap of six is not; each level comes one start earlier.
    assert oracle.timetable([0, 0, 0, 2, 0, 0, 2, 0, 0], 1.0, 0.0, setup) == (0, 2, 2, 2, 2, 2, 2, 0, 0)
    assert oracle.timetable([1, 0, 0, 0, 0, 0, 0, 1], 1.0, 0.0, setup) == (1, 0, 0, 0, 0, 1, 1, 1)


def test_reaction_is_how_long_too_little_was_asked_for():
    moments = [Moment(at, asked, asked, asked, 0) for at, asked in ((0, 1), (5, 1), (10, 3), (15, 3), (20, 1), (25, 3))]
    assert reaction(moments, [0, 2, 2, 2, 2, 2], 5.0, 0.0) == pytest.approx((5 + 5) / 2)
    assert reaction(moments, [0.5] * 6, 5.0, 0.0) == 0.0


def test_copies_keep_the_shape():
    trace = tuple(Request(float(at), 10, 10) for at in itertools.chain(range(0, 600, 2), range(1200, 1800, 2)))
    many = copies(trace, 5.5, seed=4)
    assert len(many) == pytest.approx(5.5 * len(trace), rel=0.05)
    assert many == tuple(sorted(many, key=lambda request: request.at))
    minutes = rates(many, lambda _: 1.0, 60.0, 1800.0)
    assert minutes[3] == pytest.approx(5.5 * 0.5, rel=0.3)
    assert sum(minutes[12:18]) == 0
    assert copies(trace, 5.5, seed=4) == many


def test_a_past_has_the_minutes_of_the_trace_in_an_order_of_chance():
    trace = tuple(
        Request(60.0 * minute + 7 * each, minute, 1) for minute in range(10) for each in range(minute % 4 + 1)
    )
    whole, begin = with_past((*trace, Request(605.0, 99, 1)), 500.0, seed=3)
    past = [request for request in whole if request.at < begin]
    assert begin == 480.0
    assert list(whole) == sorted(whole, key=lambda request: request.at)
    assert [replace(request, at=request.at - begin) for request in whole[len(past) :]][:-1] == list(trace)
    order = [minute for minute, _ in itertools.groupby(request.prompt_tokens for request in past)]
    assert len(order) == len(set(order)) == 8
    assert order not in (sorted(order), sorted(order, reverse=True))
    for place, minute in enumerate(order):
        found = [request.at - 60 * place for request in past if request.prompt_tokens == minute]
        assert found == pytest.approx([7.0 * each for each in range(minute % 4 + 1)])


def test_a_past_is_longer_than_the_trace_if_it_must_be():
    whole, begin = with_past(trace_of((0.0, 1, 1), (70.0, 2, 1)), 180.0)
    assert (begin, [request.at for request in whole]) == (180.0, [0.0, 60.0, 120.0, 180.0, 250.0])
    assert with_past(trace_of((0.0, 1, 1), (70.0, 2, 1)), 0.0)[1] == 0.0


def test_without_the_future_the_oracle_costs_more():
    trace = synthetic.make("step", rate=6.0, seconds=600, seed=2)
    setup, slo = Setup(REAL, cold_start=20, initial=2, most=8), Slo()
    without = present.best(trace, setup, slo, 0.0)
    assert without is not None
    assert without.outcome.attainment(slo, REAL) >= slo.objective
    assert without.hours > oracle.best(trace, setup, slo, 0.0).hours


def test_what_is_known_of_the_present_is_kept_and_foresight_moves_it_forward():
    setup, work = Setup(least=1, most=9), [0.0] * 20 + [6.0] * 6 + [0.0] * 20
    asked = present.timetable(work, 1.0, 15.0, 0.0, setup)
    early = present.timetable(work, 1.0, 15.0, 30.0, setup)
    assert max(asked) == max(early) == 6
    assert asked[20] == 1
    assert early[20] > 1
