"""The simulated engine keeps its books: hand-computed times, steps taken together, a cache that never overflows."""

import pytest
from affinity.engine import Engine
from affinity.gpu import Gpu
from affinity.traces import BLOCK_TOKENS, Ask

from manta_runtime.simulator.latency import LatencyModel

# One second a step and a millisecond a prompt token; contexts, sequences and attention cost nothing.
PLAIN = Gpu(LatencyModel(1.0, 0.0, 0.001, 0.0, jitter=0.0), per_pair=0.0)
ROOMY = 100 * BLOCK_TOKENS


def ask(index, at=0.0, prompt=512, output=1, blocks=()):
    return Ask(index, at, prompt, output, blocks)


def run_out(engine):
    told = []
    while engine.due >= 0:
        told += engine.advance()
    return told


def test_hand_computed():
    engine = Engine(0, ROOMY, PLAIN)
    first = engine.submit(ask(0, prompt=1100, output=3, blocks=(1, 2, 3)), 0.0)
    # One step of 1 s with 1,100 prompt tokens, then two that decode.
    assert engine.due == pytest.approx(2.1)
    run_out(engine)
    assert (first.first, first.ended) == (pytest.approx(2.1), pytest.approx(4.1))
    assert first.sequence.cached == 0
    again = engine.submit(ask(1, prompt=1200, output=1, blocks=(1, 2, 9)), 10.0)
    run_out(engine)
    # Blocks 1 and 2 are there: 176 tokens are left to compute.
    assert again.sequence.cached == 1024
    assert again.ended == pytest.approx(10.0 + 1.0 + 0.176)
    assert engine.computed == 1100 + 176


def test_arrival_cuts_steps_taken_together():
    engine = Engine(0, ROOMY, PLAIN)
    long = engine.submit(ask(0, prompt=100, output=11), 0.0)
    engine.advance()
    assert engine.due == pytest.approx(11.1), "ten steps at once while nobody comes"
    late = engine.submit(ask(1, prompt=200, output=1), 3.5)
    assert engine.due == pytest.approx(4.1), "the step that runs then ends first"
    run_out(engine)
    assert late.scheduled == pytest.approx(4.1)
    assert late.ended == pytest.approx(5.3)
    assert long.ended == pytest.approx(11.3), "the newcomer's prompt took 0.2 s"


def test_steps_taken_together_end_as_single_ones_do(monkeypatch):
    asks = [ask(i, 0.01 * i, 300 + 211 * (i % 7), 1 + 13 * (i % 11), (i % 3, 100 + i)) for i in range(40)]

    def ends():
        engine = Engine(0, 12 * BLOCK_TOKENS)
        jobs = []
        for one in asks:
            while 0 <= engine.due <= one.at:
                engine.advance()
            jobs.append(engine.submit(one, one.at))
        run_out(engine)
        return [(job.first, job.ended, job.sequence.cached) for job in jobs], engine.scheduler.preempted

    together, preempted = ends()
    monkeypatch.setattr(Engine, "_alike", lambda self, step: 1)
    single, preempted_too = ends()
    assert preempted == preempted_too
    assert preempted > 0, "the cache is meant to be too small here"
    for one, other in zip(together, single, strict=True):
        assert one == pytest.approx(other)


def test_cache_never_overflows():
    engine = Engine(0, 20 * BLOCK_TOKENS)
    cache = engine.scheduler.cache
    for i in range(60):
        now = 0.05 * i
        while 0 <= engine.due <= now:
            engine.advance()
            assert cache.used + len(cache._idle) <= cache.total
        engine.submit(ask(i, now, 1500, 30, (i % 5, 50 + i, 200 + i)), now)
        assert cache.used + len(cache._idle) <= cache.total
    assert len(run_out(engine)) > 0
    assert cache.used == 0


def test_refuses_to_advance_when_idle():
    with pytest.raises(RuntimeError, match="idle"):
        Engine(0, ROOMY).advance()


def test_what_does_not_fit():
    engine = Engine(0, 4 * BLOCK_TOKENS)
    assert engine.fits(ask(0, prompt=2000, output=48))
    assert not engine.fits(ask(0, prompt=2000, output=49))


def test_decode_steps_undo_their_duration():
    gpu = Gpu()
    for steps in (1, 2, 17, 400):
        seconds = gpu.decode(5, 30_000, steps)
        assert gpu.decode_steps(5, 30_000, seconds * 0.999999) == steps
        assert gpu.decode_steps(5, 30_000, seconds * 1.000001) == steps + 1
