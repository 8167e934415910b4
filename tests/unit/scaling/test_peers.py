"""The peers do what their sources say, by hand-computed values; a sweep's best is the best of it."""

import pytest

from manta_operator.scaling.signals import Demand, EngineSignals, Replicas, Signals
from manta_operator.scaling.simulation import synthetic
from manta_operator.scaling.simulation.compare import UNLEARNED, compare
from manta_operator.scaling.simulation.fleet import Setup
from manta_operator.scaling.simulation.model import EngineModel
from manta_operator.scaling.simulation.outcome import Slo
from manta_operator.scaling.simulation.policies.hpa import hpa_concurrency, hpa_external_concurrency, of_pods
from manta_operator.scaling.simulation.policies.knative import knative
from manta_operator.scaling.simulation.scene import make

MODEL = EngineModel(speed=0.25, step_tokens=2048)
SETUP = Setup(MODEL, most=40)


def signals(now, running, *, starting=0, placeless=0, held=0):
    engines = {f"r{index}": EngineSignals(0, count, 0.0, 0.0, 0.0) for index, count in enumerate(running)}
    replicas = Replicas(len(running) + starting + placeless, len(running), starting, placeless)
    return Signals(now, replicas, Demand(0, 0, 0, 0, sum(running), held), engines)


@pytest.mark.parametrize(
    ("case", "running", "more", "expected"),
    [
        ("above: of what is ready", [10, 20], {}, 3),
        ("within 10 % of the target", [11, 10], {}, 2),
        ("a start counts as 0 on the way up", [20, 20], {"starting": 1}, 4),
        ("a start that will do keeps it", [14, 16], {"starting": 1}, 3),
        ("a start on the way down counts as at the target", [2, 2], {"starting": 1}, 2),
        ("without a place: as 0 on the way up", [30], {"placeless": 2}, 3),
        ("without a place: not counted on the way down", [5, 5], {"placeless": 1}, 1),
        ("what routers hold is in no pod", [10, 10], {"held": 500}, 2),
        ("nobody tells anything", [], {"starting": 2}, 2),
    ],
)
def test_a_metric_of_pods(case, running, more, expected):
    assert of_pods(lambda engine: engine.running, 10.0)(signals(0.0, running, **more)) == expected, case


def test_a_metric_of_the_deployment_counts_what_is_held_and_a_step_up_is_bounded():
    asked = signals(0.0, [10, 10], held=80)
    assert hpa_external_concurrency(10.0)(SETUP).decide(asked) == 6  # ten are wanted, four more at once
    assert hpa_concurrency(10.0)(SETUP).decide(asked) == 2


def test_knative_panics_and_keeps_the_most_of_it():
    policy = knative(10.0)(SETUP)
    assert [policy.decide(signals(at, [10])) for at in (0.0, 2.0, 4.0)] == [1, 1, 1]
    assert policy.decide(signals(6.0, [100])) == 4  # (10 + 10 + 100) / 3 over 6 s
    assert policy.decide(signals(8.0, [100])) == 7
    kept = [policy.decide(signals(at, [10])) for at in (10.0, 20.0, 60.0)]
    assert kept == [7, 7, 7]
    assert policy.decide(signals(200.0, [10] * 7)) == 7  # the mean of this minute is 70 in flight
    assert policy.decide(signals(262.0, [1] * 7)) == 3  # half of the ready at most


def test_the_best_of_a_sweep_is_no_worse_than_what_was_measured():
    trace = synthetic.make("spike", rate=4.0, seconds=360, seed=3)
    scene = make("spike", trace, MODEL, peak=2.0, past=60.0)
    names = ("manta", UNLEARNED, "hpa-concurrency", "hpa-concurrency-best")
    found = compare(scene, Setup(MODEL, cold_start=30.0, most=4), Slo(), names)
    assert list(found.rows) == ["oracle", *names]
    plain, best = found.rows["hpa-concurrency"], found.rows["hpa-concurrency-best"]
    assert min(best["slo_attainment"], 0.99) >= min(plain["slo_attainment"], 0.99)
    assert best["target_times"] > 0
    jobs = [len(outcome.jobs) for outcome in found.outcomes.values()]
    assert jobs == [scene.requests] * len(jobs)
    assert found.outcomes[UNLEARNED].jobs[0].request == found.outcomes["manta"].jobs[0].request


def test_a_trace_can_be_its_own_past():
    trace = synthetic.make("diurnal", rate=1.0, seconds=600, seed=3)
    scene = make("day", trace, MODEL, times=1.0, past=1800.0, split=True)
    assert (scene.trace, scene.begin) == (trace, 240.0)  # half of not quite ten minutes, in whole ones
