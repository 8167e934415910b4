"""Signal latency in simulation: limits of the time between tokens are kept, and what cannot be kept costs little."""

import random

import pytest

from manta_operator.scaling.settings import Target
from manta_operator.scaling.simulation.fleet import Setup
from manta_operator.scaling.simulation.model import EngineModel
from manta_operator.scaling.simulation.policies.manta import manta
from manta_operator.scaling.simulation.replica import BETWEEN_BOUNDS
from manta_operator.scaling.simulation.run import run
from manta_operator.scaling.simulation.trace import Request

SLOW = EngineModel(speed=0.25)
"""A step takes 23 ms at least, and 0.15 ms more for each sequence."""


def play(limit, seconds=900.0, rate=6.0):
    chance, at, trace = random.Random(3), 0.0, []
    while at < seconds:
        at += chance.expovariate(rate)
        trace.append(Request(at, 10, 200))
    target = Target(measured=limit is not None, between_tokens=limit)
    outcome = run(tuple(trace), manta(target=target), Setup(SLOW, cold_start=20.0, initial=1, most=30))
    asked = [moment.asked for moment in outcome.moments if moment.at > seconds * 0.6]
    late = [replica.counters.between for replica in outcome.replicas if replica.started_at > 0]
    return asked, late


def within(counts, limit):
    bounds = [*BETWEEN_BOUNDS, float("inf")]
    total = sum(map(sum, counts))
    return sum(count for each in counts for bound, count in zip(bounds, each, strict=True) if bound <= limit) / total


def test_a_limit_between_tokens_is_kept_by_more_replicas_and_settles():
    plain, _ = play(None)
    asked, late = play(0.03)
    assert max(plain) <= 2
    assert 3 <= min(asked) <= max(asked) <= 10
    assert within(late, 0.03) >= 0.95


@pytest.mark.parametrize("limit", [0.01])
def test_a_limit_that_no_number_of_replicas_keeps_does_not_run_to_the_most(limit):
    asked, _ = play(limit)
    assert max(asked) <= 3
