"""The autoscaler's replica and the engine simulator's scheduler do the same, where both have the same rules.

Theirs plans block by block and step by step. Without chunks in a context that costs, and with a cache that holds all,
every first and every last token comes at the same time; what ours leaves out shows where the cache is full.
"""

import random
from dataclasses import replace

import pytest
from autoscaler_validation.reference import Reference

from manta_operator.scaling.simulation.fleet import Setup
from manta_operator.scaling.simulation.model import EngineModel
from manta_operator.scaling.simulation.policies.fixed import Timetable, fixed
from manta_operator.scaling.simulation.run import run
from manta_operator.scaling.simulation.trace import Request

MODEL = EngineModel(speed=0.25, per_pair=0.0)


def trace_of(seed, count=60, prompts=(1, 2000), answers=(1, 60), every=0.4):
    chance, at, found = random.Random(seed), 0.0, []
    for _ in range(count):
        at += chance.expovariate(1 / every)
        found.append(Request(at, chance.randint(*prompts), chance.randint(*answers)))
    return tuple(found)


def both(trace, setup, policy):
    return run(trace, policy, setup), run(trace, policy, replace(setup, engine=Reference))


def times(outcome):
    return [(job.first, job.ended) for job in outcome.jobs]


def flat(rows):
    return [value for row in rows for value in row]


@pytest.mark.parametrize("seed", range(6))
def test_every_token_comes_at_the_same_time(seed):
    ours, theirs = both(trace_of(seed), Setup(replace(MODEL, step_tokens=100_000), initial=2, most=2), fixed(2))
    assert flat(times(ours)) == pytest.approx(flat(times(theirs)))


@pytest.mark.parametrize("seed", range(3))
def test_long_prompts_are_cut_the_same_way(seed):
    model = replace(MODEL, step_tokens=512, per_context_token=0.0)
    ours, theirs = both(trace_of(seed), Setup(model, initial=2, most=2), fixed(2))
    assert flat(times(ours)) == pytest.approx(flat(times(theirs)))


def test_no_more_run_at_once_than_may():
    model = replace(MODEL, sequences=3, step_tokens=100_000)
    ours, theirs = both(trace_of(9, every=0.05), Setup(model, initial=1, most=1), fixed(1))
    assert flat(times(ours)) == pytest.approx(flat(times(theirs)))


def test_replicas_that_come_and_go_give_the_same_answers():
    setup = Setup(replace(MODEL, step_tokens=100_000), cold_start=3.0, initial=1, most=3)
    trace = trace_of(4, count=120, every=0.15)
    ours, theirs = both(trace, setup, lambda _: Timetable([1, 3, 2, 1, 3, 1], 5.0))
    assert flat(times(ours)) == pytest.approx(flat(times(theirs)))
    assert ours.moments == theirs.moments
    for mine, other in zip(ours.replicas, theirs.replicas, strict=True):
        assert (mine.index, mine.running, mine.todo) == (other.index, other.running, other.todo)
        said = [(each.counters.prompt_tokens, each.counters.generated_tokens) for each in (mine, other)]
        assert said[0] == said[1]
        assert sum(mine.counters.between) == sum(other.counters.between)
        assert mine.counters.first_tokens == pytest.approx(other.counters.first_tokens)
    assert ours.replica_hours() == pytest.approx(theirs.replica_hours())


def test_a_full_cache_is_where_they_part():
    """Ours keeps room for the whole answer, theirs pushes out who came last and computes it anew."""
    model = replace(MODEL, kv_tokens=4000)
    trace = trace_of(2, count=60, prompts=(400, 800), answers=(200, 400), every=0.2)
    ours, theirs = both(trace, Setup(model, initial=1, most=1), fixed(1))
    assert flat(times(ours)) != pytest.approx(flat(times(theirs)))
    ends = [max(job.ended for job in outcome.jobs) for outcome in (ours, theirs)]
    assert ends[0] == pytest.approx(ends[1], rel=0.25)
    assert sum(replica.scheduler.preempted for replica in theirs.replicas) > 0
