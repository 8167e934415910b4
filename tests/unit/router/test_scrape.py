"""What a look at an engine's metrics finds: counters and histograms over all engine cores, nothing that is broken."""

import math
from types import SimpleNamespace

import pytest

from manta_runtime.router.picker.scrape import Buckets, read
from manta_runtime.simulator.metrics import Metrics

RUNNING = b'vllm:num_requests_running{e="0"} 2.0\n'
FIRST = b"vllm:time_to_first_token_seconds"


def histogram(name, *totals, bounds=("0.5", "1.0", "+Inf"), core="0"):
    """One engine core's, as Prometheus' client writes it."""
    lines = [
        b'%s_bucket{e="%s",le="%s",m="t,le=\\"7\\""} %s\n' % (name, core.encode(), bound.encode(), str(total).encode())
        for bound, total in zip(bounds, totals, strict=True)
    ]
    return b"".join([*lines, b'%s_count{e="0"} 9.0\n' % name, b'%s_sum{e="0"} 9.0\n' % name])


def test_counters_and_histograms_are_added_up_over_the_engine_cores():
    counters = b"".join(
        b'vllm:%s_total{e="%d"} %d.0\nvllm:%s_total{e="%d"} 1e3\n' % (name, 0, value, name, 1)
        for name, value in ((b"prompt_tokens", 70), (b"generation_tokens", 30), (b"prefix_cache_hits", 5))
    )
    text = histogram(FIRST, 1.0, 3.0, 7.0) + histogram(FIRST, 10.0, 10.0, 10.0, core="1") + counters + RUNNING
    look = read(b"# HELP x\n" + text)
    assert (look.running, look.prompt_tokens, look.generated_tokens, look.hit_tokens) == (2, 1070, 1030, 1005)
    assert (look.first_token, look.between_tokens) == (Buckets((0.5, 1.0), (11, 2, 4)), None)


def test_what_an_engine_does_not_tell_is_missing_and_not_zero():
    look = read(RUNNING)
    assert [look.prompt_tokens, look.generated_tokens, look.hit_tokens, look.first_token] == [None] * 4


@pytest.mark.parametrize("number", ["NaN", "-1.0", "+Inf", "-Inf", "1e300", "x", "", "1" * 5000])
@pytest.mark.parametrize(
    "line",
    [
        "vllm:prompt_tokens_total{} %s\n",
        "vllm:generation_tokens_total{} %s\n",
        "vllm:prefix_cache_hits_total{} %s\n",
        "vllm:num_requests_waiting{} %s\n",
        "vllm:kv_cache_usage_perc{} %s\n",
        'vllm:time_to_first_token_seconds_bucket{le="+Inf"} %s\n',
        'vllm:inter_token_latency_seconds_bucket{le="+Inf"} %s\n',
    ],
)
def test_a_broken_number_is_no_look(line, number):
    with pytest.raises(ValueError, match=r"count|float"):
        read(RUNNING + (line % number).encode())


def test_buckets_that_fall_are_no_look():
    with pytest.raises(ValueError, match="fall"):
        read(RUNNING + histogram(FIRST, 5.0, 4.0, 9.0))


@pytest.mark.parametrize(
    "bounds", [("0.5", "0.5"), ("1.0", "0.5"), ("0.5", "1.0"), ("NaN", "+Inf"), ("-1", "+Inf"), ("+Inf", "0")]
)
def test_a_histogram_of_another_kind_is_none(bounds):
    assert read(RUNNING + histogram(FIRST, 1.0, 2.0, bounds=bounds)).first_token is None


def test_histograms_are_not_read_on_for_ever():
    many = [str(number / 8) for number in range(1, 100)]
    with pytest.raises(ValueError, match="too many"):
        read(RUNNING + histogram(FIRST, *range(99), bounds=many))
    with pytest.raises(ValueError, match="too many"):
        read(RUNNING + histogram(FIRST, 1.0, 2.0, 3.0) * 2000)


def test_the_simulator_tells_all_that_is_looked_for():
    limits = SimpleNamespace(block_size=16, prefix_caching=True, blocks=1000)
    scheduler = SimpleNamespace(running=[1], waiting=[], cache=SimpleNamespace(used=3, total=10))
    metrics = Metrics(SimpleNamespace(served_names=["t"], limits=limits), scheduler)
    metrics.first_token(SimpleNamespace(cached=16, prompt_tokens=40), 0.3)
    metrics.next_token(0.02)
    look = read(metrics.render())
    assert (look.prompt_tokens, look.generated_tokens, look.hit_tokens, look.kv_usage) == (40, 2, 16, 0.3)
    assert float(look.started) > 1e9
    for found, seconds in ((look.first_token, 0.3), (look.between_tokens, 0.02)):
        [place] = [place for place, count in enumerate(found.counts) if count]
        assert [0.0, *found.bounds][place] < seconds <= [*found.bounds, math.inf][place]
