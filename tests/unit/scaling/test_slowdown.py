"""How much slower answers come shows what a replica can do, long before it is full; and only where that can be seen."""

import math
import random
from dataclasses import replace

import pytest

from manta_operator.scaling.capacity import Capacity, learn
from manta_operator.scaling.settings import Estimate, SettingsError
from manta_operator.scaling.signals import EngineSignals
from manta_operator.scaling.simulation.fleet import Setup
from manta_operator.scaling.simulation.model import EngineModel
from manta_operator.scaling.simulation.outcome import Slo
from manta_operator.scaling.simulation.policies.manta import manta
from manta_operator.scaling.simulation.run import run
from manta_operator.scaling.simulation.trace import Request
from manta_operator.scaling.slowdown import Line, capacity, observe

TOKENS = 10_000.0
"""Of a second's work."""
ESTIMATE = Estimate(1e9, TOKENS, sequences=100_000)
ALONE, STAND = 40.0, 1.5
LOOK = 2.0


def engine(work, at, *, waiting=0, sequence=1e-5, alone=None):
    """An engine that has always done so much, each sequence as fast as the law says; `sequence`: cache it takes.

    `alone`: each is as fast as that, whatever the engine does.
    """
    rate = ALONE * (1 - work / STAND) if alone is None else alone
    count = work * TOKENS / rate
    return EngineSignals(waiting, round(count), min(1.0, count * sequence), 0.0, work * TOKENS * at)


def shown(works, minutes=30.0, sequences=100_000, **more):
    """Play engines that do these works, and return what they show."""
    line, at = Line(), 0.0
    while at < minutes * 60:
        line = observe(
            line, {f"e{i}": (at, engine(work, at, **more)) for i, work in enumerate(works)}, 0.0, ESTIMATE, at
        )
        at += LOOK
    return capacity(line, sequences, at)[:2]


def test_the_limit_is_found_by_engines_that_are_half_full():
    speed, sure = shown((0.2, 0.4, 0.6, 0.8))
    assert speed == pytest.approx(0.9 * STAND, rel=0.05)
    assert sure == 1.0


def test_ten_engines_show_it_within_minutes_and_one_within_two_hours():
    many = [0.1 * index for index in range(1, 11)]
    assert shown(many, minutes=2)[1] == 0.0
    assert shown(many, minutes=10)[1] == 1.0
    line, made, sure = Line(), 0.0, {}
    for look in range(round(7200 / LOOK)):
        at, work = LOOK * look, 0.2 + 0.2 * (look // 150 % 4)
        line = observe(line, {"e": (at, replace(engine(work, at), generated_tokens=made))}, 0.0, ESTIMATE, at)
        made += work * TOKENS * LOOK
        sure[round(at)] = capacity(line, None, at).sure
    assert sure[20 * 60] == 0.0
    assert sure[7100] >= 0.9


@pytest.mark.parametrize(
    ("why", "works", "more"),
    [
        ("too few windows", (0.2, 0.8), {"minutes": 5}),
        ("too far from the limit", (0.03, 0.05, 0.07), {}),
        ("no differences", (0.5, 0.5), {}),
        ("answers do not become slower", (0.1, 0.2, 0.3), {"alone": 40.0}),
        ("requests wait", (0.2, 0.4, 0.8), {"waiting": 3}),
        ("idle", (0.0, 0.001), {}),
        ("more than can be", (200.0, 300.0), {"alone": 40.0}),
    ],
)
def test_it_says_nothing_where_nothing_can_be_seen(why, works, more):
    speed, sure = shown(works, **more)
    assert sure == 0.0 or speed == 0.0, why


@pytest.mark.parametrize(("sigma", "least", "most"), [(0.0, 1.0, 1.0), (1.0, 0.05, 0.7), (2.0, 0.0, 0.2)])
def test_chance_makes_it_less_sure(sigma, least, most):
    chance, line, at = random.Random(1), Line(), 0.0
    for _ in range(900):
        looks = {}
        for index in range(4):
            seen = engine(0.2 + 0.2 * index, at)
            running = max(1, round(seen.running * chance.lognormvariate(0, sigma)))
            looks[f"e{index}"] = (at, replace(seen, running=running))
        line = observe(line, looks, 0.0, ESTIMATE, at)
        at += LOOK
    assert least <= capacity(line, None, at).sure <= most


def test_the_places_of_an_engine_are_a_limit_too():
    """At work w there are 10^4 w / v sequences of v = 40 (1 - w / 1.5) tokens a second: 250 of them at w = 0.6."""
    assert shown((0.1, 0.3, 0.5), sequences=250)[0] == pytest.approx(0.6, rel=0.05)
    assert shown((0.1, 0.3, 0.5), sequence=1 / 250)[0] == pytest.approx(0.6, rel=0.1)


def test_a_new_start_a_gap_and_silence_begin_anew():
    line = Line()
    for at in (5.0, 10.0, 20.0):
        line = observe(line, {"e": (at, engine(0.5, at))}, 0.0, ESTIMATE, at)
    assert line.windows["e"].at == 5.0
    again = observe(line, {"e": (28.0, engine(0.5, 1.0))}, 0.0, ESTIMATE, 28.0)
    assert again.windows["e"].at == 28.0
    late = observe(line, {"e": (400.0, engine(0.5, 400.0))}, 0.0, ESTIMATE, 400.0)
    assert late.windows["e"].at == 400.0
    dumb = observe(line, {"e": (22.0, replace(engine(0.5, 22.0), prompt_tokens=None))}, 0.0, ESTIMATE, 22.0)
    assert not dumb.windows
    assert "e" in observe(line, {}, 0.0, ESTIMATE, 60.0).windows, "one look missed is none"
    assert not observe(line, {}, 0.0, ESTIMATE, 600.0).windows, "engines that have gone are forgotten"
    ended = observe(line, {"e": (35.0, engine(0.5, 35.0))}, 0.0, ESTIMATE, 35.0)
    assert ended.sums.number == 1.0
    assert all(each.sums.number == 0.0 for each in (again, late, dumb))


def test_what_was_long_ago_fades():
    line, at = Line(), 0.0
    for factor, minutes in ((1.0, 60), (2.0, 240)):
        for _ in range(int(minutes * 60 / LOOK)):
            looks = {}
            for index, work in enumerate((0.2, 0.4, 0.6)):
                seen = engine(work, at)
                made = factor * TOKENS * work * at
                looks[f"{factor}-{index}"] = (at, replace(seen, generated_tokens=made))
            line = observe(line, looks, 0.0, ESTIMATE, at)
            at += LOOK
    found = capacity(line, None, at)
    assert found.speed == pytest.approx(0.9 * 2 * STAND, rel=0.1)
    assert found.sure == 1.0
    assert capacity(line, None, at + 6 * 3600).sure == 0.0, "nothing was seen since"


@pytest.mark.parametrize(("prompts", "answers"), [(8.0, 0.0), (0.0, 8.0)])
def test_an_odd_engine_moves_little(prompts, answers):
    """A minute of prompts that a cache had, or of lies: eight times the work that a replica can do."""
    line, at, odd = Line(), 0.0, 0.0
    for look in range(1800):
        looks = {f"e{index}": (at, engine(0.5 + 0.02 * index, at)) for index in range(30)}
        odd += TOKENS * LOOK if 1500 <= look < 1530 else 0.0
        seen = looks["e7"][1]
        made = seen.generated_tokens + answers * odd
        looks["e7"] = (at, replace(seen, prompt_tokens=prompts * odd, generated_tokens=made))
        line = observe(line, looks, 1 / TOKENS, ESTIMATE, at)
        at += LOOK
        if look in (1499, 1560):
            found = capacity(line, None, at)
            assert found.speed == pytest.approx(0.9 * STAND, rel=0.1)
            assert found.seen < 1.25


def test_a_queue_now_and_then_in_a_window_is_no_chance():
    line, at = Line(), 0.0
    for look in range(900):
        waits = 3 if look % 3 == 0 else 0
        line = observe(line, {f"e{i}": (at, engine(0.2 * i, at, waiting=waits)) for i in (1, 2, 3)}, 0.0, ESTIMATE, at)
        at += LOOK
    assert line.sums.number == 0.0


def test_queues_that_show_less_are_believed_more_than_the_line():
    known, at, before = Capacity(), 0.0, {}
    levels = []
    for minute in range(120):
        waits = 3 if minute >= 60 and minute < 70 else 0
        for _ in range(int(60 / LOOK)):
            works = (0.2, 0.4, 0.6) if not waits else (0.6, 0.6, 0.6)
            done = {name: each.generated_tokens for name, (_, each) in before.items()}
            looks = {}
            for index, work in enumerate(works):
                made = done.get(f"e{index}", 0.0) + work * TOKENS * LOOK
                looks[f"e{index}"] = (at, replace(engine(work, at, waiting=waits), generated_tokens=made))
            known = learn(known, before, looks, 0.0, ESTIMATE)
            before = looks
            at += LOOK
        levels.append(known.speed)
    assert known.shown == pytest.approx(0.9 * STAND, rel=0.05)
    assert levels[50] == pytest.approx(1.5 * (0.4 + 2 * 0.163), rel=0.05), "half as much again as was seen"
    assert levels[69] == pytest.approx(0.6, rel=0.1), "the queue"
    halfway = (known.shown + 0.6) / 2
    assert levels[119] == pytest.approx(halfway, rel=0.1)
    assert known.bound == pytest.approx(halfway, rel=0.1)


def test_what_a_queue_showed_bounds_a_line_that_is_sure_only_later():
    known = replace(Capacity(), speed=0.6, queued=True, pressure=0.01)
    at, before = 0.0, {}
    for _ in range(600):
        looks = {f"e{i}": (at, engine(0.2 * i, at)) for i in (1, 2, 3)}
        known = learn(known, before, looks, 0.0, ESTIMATE)
        before = looks
        at += LOOK
    assert known.shown == pytest.approx(0.9 * STAND, rel=0.05)
    assert 0.6 <= known.speed < 0.65


def steady(rate, seconds=3600.0):
    chance, at, trace = random.Random(2), 0.0, []
    while at < seconds:
        at += chance.expovariate(rate * (1.0 if at % 600 < 300 else 0.6))
        trace.append(
            Request(at, max(1, round(1000 * chance.lognormvariate(0, 0.8))), round(200 * chance.uniform(0.5, 1.5)))
        )
    return tuple(trace)


def test_an_estimate_four_times_too_high_or_too_low_costs_the_same_as_a_right_one():
    trace, model = steady(14.0), EngineModel(speed=0.25)
    setup = Setup(model, cold_start=60.0, initial=6, most=40)
    found = {}
    for error in (0.25, 1.0, 4.0):
        outcome = run(trace, manta(error=error), setup, 1800.0)
        found[error] = outcome.replica_hours()
        assert outcome.attainment(Slo(), model) >= 0.99, error
    assert found[0.25] == pytest.approx(found[1.0], rel=0.1)
    assert found[4.0] == pytest.approx(found[1.0], rel=0.1)


def test_a_smooth_fleet_with_an_estimate_four_times_too_low_gets_nearer_step_by_step():
    chance, known, at, before, made = random.Random(3), Capacity(), 0.0, {}, {}
    speeds = []
    for look in range(5400):
        work = 0.72 * known.speed
        looks = {}
        for index in range(20):
            name = f"e{index}"
            does = work * (1 + 0.05 * math.sin(look / 40 + index))
            made[name] = made.get(name, 0.0) + does * TOKENS * LOOK
            running = does * TOKENS / (ALONE * (1 - does / 4.4)) * chance.uniform(0.97, 1.03)
            looks[name] = (at, EngineSignals(0, round(running), 0.1, 0.0, made[name]))
        known = learn(known, before, looks, 0.0, ESTIMATE)
        before = looks
        at += LOOK
        speeds.append(known.speed)
    assert speeds[-1] == pytest.approx(0.9 * 4.4, rel=0.15)
    assert max(later / sooner for sooner, later in zip(speeds, speeds[150:], strict=False)) < 1.7


def test_no_places_are_refused():
    with pytest.raises(SettingsError, match="sequences is 0"):
        Estimate(1.0, 1.0, sequences=0)
