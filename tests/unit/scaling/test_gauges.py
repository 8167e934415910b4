"""What simulated routers tell is as wrong as what real ones do: guessed, put right later, and a second old."""

import pytest

from manta_operator.scaling.simulation.fleet import Fleet, Setup
from manta_operator.scaling.simulation.gauges import Gauges
from manta_operator.scaling.simulation.replica import Job
from manta_operator.scaling.simulation.trace import Request


def jobs(count, tokens=1000):
    return [Job(Request(0.0, tokens, 10), order) for order in range(count)]


def test_prompts_are_guessed_until_their_answers_have_ended():
    gauges, came = Gauges(Fleet(Setup())), jobs(100)
    for job in came[:3]:
        gauges.arrived(job)
    assert gauges.read(0.0).demand.tokens_in != pytest.approx(3000, rel=0.01)
    for job in came[3:]:
        gauges.arrived(job)
    assert gauges.read(1.0).demand.tokens_in == pytest.approx(100_000, rel=0.03)
    gauges.ended(came)
    assert gauges.read(2.0).demand.tokens_in >= 100_000
    gauges.arrived(Job(Request(3.0, 10_000, 10), 100))
    assert gauges.read(3.0).demand.tokens_in == pytest.approx(110_000, rel=0.03)


def test_what_was_told_is_never_taken_back():
    gauges, told = Gauges(Fleet(Setup())), [0.0]
    for job in jobs(50):
        gauges.arrived(job)
        gauges.ended([job])
        told.append(gauges.read(0.0).demand.tokens_in)
    assert told == sorted(told)


def test_engines_are_told_as_they_were_looked_at():
    fleet = Fleet(Setup(initial=2))
    gauges = Gauges(fleet)
    assert gauges.read(0.0).engines == {}
    gauges.look()
    fleet.serving[0].submit(jobs(1)[0], 1.0)
    assert [engine.running for engine in gauges.read(2.0).engines.values()] == [0, 0]
    gauges.look()
    assert [engine.running for engine in gauges.read(2.0).engines.values()] == [1, 0]
