"""What `make bench-router` and `make soak` make of their measurements."""

import pytest
from routers.client import Samples
from routers.report import goals, summary, table
from routers.soak import growth


def one_round(rps=1000.0, chunks=10_000.0, at_rate=1.0):
    times = {f"{name}_p{share}_ms": at_rate for name in ("at_rate", "saturated") for share in (50, 95, 99)}
    return {"rps": rps, "chunks_per_s": chunks, "cpu_s_per_1000": 0.1, "rss_mb": 100.0, **times}


def report(manta, peer):
    rounds = {"direct": [one_round()] * len(manta), "manta": manta, "vllm_router_cache_aware": peer}
    return summary({"rounds": rounds, "left_out": {} if peer else {"vllm_router_cache_aware": "no network"}})


def test_a_row_has_the_medians_and_what_the_router_adds():
    found = report([one_round(3000, at_rate=2.0), one_round(1000, at_rate=9.0), one_round(2000, at_rate=4.0)], [])
    assert found["manta"]["rps"] == 2000
    assert found["manta"]["added_p95_ms"] == 3.0
    assert found["direct"]["added_p99_ms"] == 0.0


def test_a_router_that_is_left_out_is_null_with_its_reason():
    found = report([one_round()], [])
    assert found["vllm_router_cache_aware"] is None
    assert "left out: no network" in table(found)
    assert "did not run" in goals(found)


@pytest.mark.parametrize(
    ("rps", "chunks", "words"), [(2000, 20_000, ["reached"] * 3), (1900, 19_000, ["reached", "MISSED", "MISSED"])]
)
def test_goals_compare_with_the_peer_of_the_same_run(rps, chunks, words):
    said = goals(report([one_round(rps, chunks)], [one_round()]))
    assert [line.split()[-1] for line in said.splitlines()] == words


def test_percentiles_are_of_what_was_answered():
    samples = Samples(seconds=[0.1 * n for n in range(1, 11)])
    assert samples.percentile(0.5) == pytest.approx(0.6)
    assert samples.percentile(0.99) == pytest.approx(1.0)
    with pytest.raises(ValueError, match="no request was answered"):
        Samples(failed=3).percentile(0.5)


@pytest.mark.parametrize(
    ("memory", "grown"),
    [
        ([50, 80] + [100] * 18, 0.0),  # the warm-up does not count
        ([100] * 4 + [100 + n for n in range(16)], 0.1188),
    ],
)
def test_growth_is_what_comes_after_the_warm_up(memory, grown):
    assert growth(memory) == pytest.approx(grown, abs=0.001)
