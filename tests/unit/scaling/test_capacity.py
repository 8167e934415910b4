"""What queues show of a replica is believed, and what they showed once is not believed for ever."""

import itertools

import pytest

from manta_operator.scaling.capacity import Capacity, learn
from manta_operator.scaling.settings import Estimate
from manta_operator.scaling.signals import EngineSignals

ESTIMATE = Estimate(1000.0, 1e9)
LOOK = 2.0


def play(known, seconds, does, *, waits):
    """One engine does `does` of what is estimated, with a queue or without."""
    before = (0.0, EngineSignals(3 * waits, 8, 0.5, 0.0, 0.0))
    for index in range(1, int(seconds / LOOK) + 1):
        now = (LOOK * index, EngineSignals(3 * waits, 8, 0.5, 1000.0 * does * LOOK * index, 0.0))
        known = learn(known, {"e": before}, {"e": now}, 1e-3, ESTIMATE)
        before = now
    return known


def test_five_slow_minutes_are_forgotten_within_hours():
    slow = play(play(Capacity(), 3600, 0.5, waits=False), 300, 0.2, waits=True)
    assert slow.speed == pytest.approx(0.25, abs=0.02)
    hour = play(slow, 3600, 0.2, waits=False)
    night = play(hour, 8 * 3600, 0.2, waits=False)
    assert slow.speed + 0.05 < hour.speed < night.speed
    assert night.speed == pytest.approx(night.hope, abs=0.01)
    assert night.hope == pytest.approx((0.5 + slow.speed) / 2, abs=0.02)


def test_each_queue_that_shows_the_same_halves_the_hope():
    known, hopes = play(Capacity(), 600, 0.9, waits=True), []
    for _ in range(5):
        known = play(known, 300, 0.4, waits=True)
        known = play(known, 600, 0.3, waits=False)
        hopes.append(known.hope)
    assert all(later - 0.4 < 0.75 * (hope - 0.4) for hope, later in itertools.pairwise(hopes))
    assert known.speed == pytest.approx(0.4, abs=0.03)


def test_it_never_hopes_for_what_was_only_estimated():
    assert play(Capacity(), 12 * 3600, 0.1, waits=False).speed == 0.8
    wrong = play(Capacity(), 600, 0.4, waits=True)
    assert play(wrong, 12 * 3600, 0.3, waits=False).speed == wrong.speed == pytest.approx(0.4, abs=0.01)
    fast = play(Capacity(), 600, 1.5, waits=True)
    assert play(fast, 3600, 0.1, waits=False).speed == fast.speed == pytest.approx(1.5, abs=0.01)
