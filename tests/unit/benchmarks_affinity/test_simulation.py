"""A whole simulated fleet under every policy: nothing is lost, nothing is counted twice, runs repeat exactly."""

import pytest
from affinity import synthetic
from affinity.catalogue import POLICIES
from affinity.fleet import Setup, Simulation
from affinity.measure import compare, measure, quantile
from affinity.traces import Ask, best_possible

SMALL = Setup(engines=3, kv_tokens=60_000)


@pytest.fixture(scope="module")
def asks():
    return synthetic.make("agents", rate=20, count=150)


@pytest.mark.parametrize("name", POLICIES)
@pytest.mark.parametrize("routers", [1, 2])
def test_every_request_ends_in_order(name, routers, asks):
    setup = Setup(engines=3, kv_tokens=60_000, routers=routers)
    outcome = Simulation(setup, POLICIES[name]).run(asks)
    assert len(outcome.jobs) + outcome.refused == len(asks)
    for job in outcome.jobs:
        assert job.ask.at == job.arrived <= job.scheduled < job.first <= job.ended
        assert job.sequence.generated == job.ask.output_tokens
        assert 0 <= job.sequence.cached < job.ask.prompt_tokens
    assert all(engine.due < 0 and not engine.scheduler.cache.used for engine in outcome.engines)
    row = measure(outcome)
    assert 0 < row["hit_ratio"] <= best_possible([job.ask for job in outcome.jobs])
    computed = sum(job.ask.prompt_tokens - job.sequence.cached for job in outcome.jobs)
    assert sum(engine.computed for engine in outcome.engines) >= computed


@pytest.mark.parametrize("name", POLICIES)
def test_runs_repeat_exactly(name, asks):
    first, second = (measure(Simulation(SMALL, POLICIES[name]).run(asks[:60])) for _ in range(2))
    assert first == second


def test_affinity_is_worth_something(asks):
    rows = {name: measure(Simulation(SMALL, POLICIES[name]).run(asks)) for name in ("manta", "random")}
    compare(rows, best_possible(asks))
    assert rows["manta"]["hit_ratio"] > 1.2 * rows["random"]["hit_ratio"]
    assert rows["manta"]["hit_ratio_of_best"] == 1.0
    assert rows["random"]["hit_ratio_of_best"] < 0.9


def test_measures_of_a_hand_computed_case():
    # Round robin over two engines: the second of each pair of equal prompts finds nothing.
    asks = [Ask(i, 100.0 * i, 1024, 1, (i // 2 * 10, i // 2 * 10 + 1)) for i in range(4)]
    row = measure(Simulation(Setup(engines=2), POLICIES["round_robin"]).run(asks))
    assert row["hit_ratio"] == 0.0
    assert (row["imbalance"], row["imbalance_requests"]) == (1.0, 1.0)
    # All on one engine: the first block of each second prompt (the last token is always computed) is a hit.
    row = measure(Simulation(Setup(engines=1), POLICIES["round_robin"]).run(asks))
    assert row["hit_ratio"] == 2 / 8
    assert row["queue_mean_s"] == 0.0


def test_imbalance_is_of_tokens():
    asks = [Ask(i, 100.0 * i, 900 if i % 2 else 100, 100, ()) for i in range(6)]
    row = measure(Simulation(Setup(engines=2), POLICIES["round_robin"]).run(asks))
    assert row["imbalance"] == pytest.approx(1000 / 600, abs=1e-4)
    assert row["imbalance_requests"] == 1.0


def test_quantiles():
    assert [quantile([1.0, 2.0, 3.0, 4.0], share) for share in (0.0, 0.5, 0.9, 1.0)] == [1.0, 2.0, 4.0, 4.0]
    assert quantile([], 0.5) == 0.0
