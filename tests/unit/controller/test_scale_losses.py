"""What is lost with a replica: requests of now, and what its cache has saved lately."""

from manta_operator.controller.scale_losses import losses, remember
from manta_operator.planning.victims import HIT_SECONDS, Loss
from manta_operator.scaling.reading import Engine
from manta_operator.scaling.signals import EngineSignals


def engine(hits, *, instance="1", in_flight=0):
    return Engine(0.1, instance, EngineSignals(0, 0, 0.0, 0.0, 0.0), in_flight, hits)


def play(values, *, every=10.0, instance="1"):
    kept = {}
    for index, hits in enumerate(values):
        kept = remember(kept, {"a": engine(hits, instance=instance, in_flight=3)}, index * every)
    return kept


def test_what_a_cache_saved_before_we_looked_is_nothing_of_lately():
    assert losses(play([5000]), None) == {"a": Loss(3, 0.0)}
    assert losses(play([5000, 5200]), None) == {"a": Loss(3, 200.0)}


def test_what_it_saved_long_ago_counts_no_more():
    growing = [min(1000, each * 100) for each in range(200)]
    assert losses(play(growing[:11]), None)["a"].hit_tokens == 1000
    assert losses(play(growing), None)["a"].hit_tokens == 0
    steady = losses(play([each * 100 for each in range(200)]), None)["a"].hit_tokens
    assert 0.8 * HIT_SECONDS * 10 <= steady <= 1.3 * HIT_SECONDS * 10


def test_an_engine_that_started_anew_has_saved_what_it_says():
    kept = remember(play([900, 950]), {"a": engine(40, instance="2")}, 20.0)
    assert losses(kept, None)["a"].hit_tokens == 40


def test_one_that_counts_nothing_has_saved_nothing():
    assert losses(play([None, None]), None) == {"a": Loss(3, 0.0)}


def test_requests_in_flight_are_those_of_just_now_where_they_are_known():
    assert losses(play([1, 2]), {"a": 7, "b": 2}) == {"a": Loss(7, 1.0), "b": Loss(2, 0.0)}
    assert losses({}, {"a": 7}) is None


def test_a_replica_that_is_not_seen_any_more_is_forgotten():
    assert remember(play([1, 2]), {}, 50.0) == {}
