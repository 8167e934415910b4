"""What is under way is not taken away, and what a replica cannot finish while it drains is counted as cut off."""

from dataclasses import replace

import pytest

from manta_operator.scaling.busy import busy
from manta_operator.scaling.capacity import Capacity
from manta_operator.scaling.decide import decide
from manta_operator.scaling.settings import Behaviour, Estimate, Settings, Target
from manta_operator.scaling.signals import Demand, EngineSignals, Replicas, Signals
from manta_operator.scaling.simulation.fleet import Setup
from manta_operator.scaling.simulation.model import EngineModel
from manta_operator.scaling.simulation.policies.fixed import Timetable
from manta_operator.scaling.simulation.run import run
from manta_operator.scaling.simulation.trace import Request
from manta_operator.scaling.state import State

TARGET = Target(utilisation=0.8)


def seen(running, kv_usage, ready=4):
    engines = {f"e{i}": EngineSignals(0, running, kv_usage, 0.0, 0.0) for i in range(ready)}
    return Signals(0.0, Replicas(ready, ready), None, engines)


@pytest.mark.parametrize(
    ("known", "running", "kv_usage", "replicas"),
    [
        (Capacity(speed=0.8, served=0.4), 1, 0.0, 2.5),
        (Capacity(), 1, 0.6, 3.0),
        (Capacity(), 50, 0.0, 0.0),
    ],
    ids=["work", "cache", "nothing"],
)
def test_what_is_under_way_occupies(known, running, kv_usage, replicas):
    assert busy(TARGET, State(capacity=known), seen(running, kv_usage)) == pytest.approx(replicas)


def test_engines_that_nobody_sees_keep_nothing():
    assert busy(TARGET, State(), replace(seen(5, 1.0), engines={})) == 0.0


def test_long_answers_keep_their_replicas_after_demand_has_gone():
    chosen = Settings(Estimate(1e6, 1e6, cold_start=10.0), behaviour=Behaviour(hold=20.0, down_share=1.0))
    state, asked, found = State(), 6, []
    for index in range(1, 120):
        kv_usage = 0.5 if index < 60 else 0.1
        engines = {f"e{i}": EngineSignals(0, 10, kv_usage, 0.0, 2.0 * index) for i in range(asked)}
        demand = Demand(1.0, 100.0, 0.0, 0.0, 10 * asked)
        decision, state = decide(chosen, state, Signals(2.0 * index, Replicas(asked, asked), demand, engines, 10.0))
        found.append(decision)
        asked = decision.replicas if index >= 60 else 6
    assert {(decision.replicas, decision.because) for decision in found[20:59]} == {(4, "busy")}
    assert asked == 1


def test_what_is_not_finished_when_a_replica_has_drained_is_cut_off():
    model = EngineModel()
    trace = tuple(Request(float(at), 100, tokens) for at, tokens in ((0, 100), (1, 20_000), (2, 20_000), (3, 100)))
    for drain, cut in ((5.0, 1), (3600.0, 0)):
        setup = Setup(model, cold_start=1.0, initial=2, drain=drain)
        outcome = run(trace, lambda _: Timetable((2, 2, 2, 1), 1.5), setup)
        assert outcome.cut == sum(job.ended < 0 for job in outcome.jobs) == cut
        assert sum(replica.stopped_at >= 0 for replica in outcome.replicas) == 1
