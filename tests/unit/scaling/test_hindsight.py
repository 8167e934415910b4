"""What the past teaches: a window as long as the gaps between rushes, and none that demand does not ask for."""

import itertools
from dataclasses import replace

import pytest

from manta_operator.scaling import demand, hindsight
from manta_operator.scaling.need import Scale, smoothed
from manta_operator.scaling.settings import Target
from manta_operator.scaling.state import BIN_SECONDS, Bin

SCALE = Scale(Target(), speed=1.0, grain=0.3, margin=1.0, cold_start=120.0)


def past(rate, minutes=120):
    return tuple(Bin(i * BIN_SECONDS, rate(i * BIN_SECONDS), BIN_SECONDS) for i in range(minutes * 4))


def choose(rate, scale=SCALE, minutes=120):
    return hindsight.choose(past(rate, minutes), scale, predicts=True)


def test_steady_demand_needs_no_window_beyond_a_start():
    assert choose(lambda _: 10.0, replace(SCALE, cold_start=700.0)).hold == 700.0
    assert choose(lambda _: 10.0).hold == 300.0


def test_the_window_has_no_cliffs():
    found = [choose(lambda at, gap=gap: 10.0 if at % gap < 60 else 0.5).hold for gap in range(120, 1200, 60)]
    assert found == sorted(found)
    assert max(later / hold for hold, later in itertools.pairwise(found)) < 1.6


def test_a_window_grows_at_once_and_shrinks_slowly():
    steady, rushes = past(lambda _: 10.0), past(lambda at: 10.0 if at % 900 < 90 else 0.5)
    long = hindsight.choose(rushes, SCALE, predicts=True, before=300.0).hold
    assert long > 900.0
    assert hindsight.choose(steady, SCALE, predicts=True, before=long).hold == pytest.approx(0.8 * long)


@pytest.mark.parametrize("gap", [600.0, 1200.0])
def test_rushes_that_come_again_are_waited_for_and_some_starts_longer(gap):
    found = choose(lambda at: 10.0 if at % gap < 90 else 0.5)
    assert gap + 2 * SCALE.cold_start < found.hold < 1.5 * gap + 5 * SCALE.cold_start
    assert found.late < 0.05


def test_little_past_is_no_reason_for_a_short_window():
    assert choose(lambda _: 10.0, minutes=10).hold >= 5 * SCALE.cold_start


def test_late_is_what_comes_while_the_queue_is_too_long():
    load = [1.0] * 20 + [5.0] * 20
    short = hindsight.judge(load, [1] * 40, hindsight.Choice(60.0, 60.0), SCALE)
    enough = hindsight.judge(load, [5] * 40, hindsight.Choice(60.0, 60.0), SCALE)
    # 15 s of five replicas' work for one fill the queue by 60 s; more than 5 s are too long.
    assert short.late == pytest.approx(5 * (19 + 55 / 60) / (12 + 100))
    assert (enough.late, enough.cost) == (0.0, 5.0)


def test_what_was_asked_for_is_there_a_start_later_and_the_queue_drains():
    load, need = [2.0] * 4 + [6.0] * 4 + [0.25] * 4, [2.0] * 4 + [6.0] * 4 + [3.0] * 4
    found = hindsight.judge(load, need, hindsight.Choice(15.0, 15.0), replace(SCALE, cold_start=30.0))
    # Seconds of a replica in the queue: 60, 120 (of two), 120, 120, 33.75 (of six), none after 12.3 s (of three).
    late = 6 * (50 / 60) + 3 * 6 + 0.25 + 0.25 * (18.75 / 41.25)
    assert found.late == pytest.approx(late / (2 * 2 + 4 * 6 + 4 * 0.25))
    assert found.cost == pytest.approx((4 * 2 + 4 * 6 + 4 * 3) / 12)


def test_the_past_comes_round():
    load = [1.0] * 20 + [5.0] * 20 + [1.0] * 20
    # 40 bins lie between the rush and its beginning in the next round.
    late = [hindsight.judge(load, load, hindsight.Choice(BIN_SECONDS * n, 15.0), SCALE).late for n in (40, 41, 42)]
    assert late[0] > 0.0
    assert late[1:] == [0.0, 0.0]


def test_how_it_began_is_not_late():
    load = [9.0] * 8 + [1.0] * 40
    assert hindsight.judge(load, [1.0] * 8 + load[8:], hindsight.Choice(60.0, 15.0), SCALE).late == 0.0


@pytest.mark.parametrize(
    ("load", "swing"),
    [
        ([3.0] * 40, 0.0),
        ([2.0] * 20 + [4.0] * 20, (4 * 8 / 32 / 2 - 0.3 / 15 * 3) ** 0.5 / 3),  # 8 of 32 pairs span the step
        ([2.9, 2.9, 3.1, 3.1] * 10, 0.0),  # the chance of single requests
        (([10.0] * 4 + [0.5] * 4) * 5, (9.5**2 / 2 - 0.3 / 15 * 5.25) ** 0.5 / 5.25),  # again after a start
        ([0.0] * 40, 0.0),
        ([5.0] * 4, 0.0),  # nothing is a cold start apart
    ],
)
def test_the_swing_is_what_changes_within_a_start(load, swing):
    assert hindsight.swing(load, SCALE) == pytest.approx(swing)


@pytest.mark.parametrize(
    ("low", "least", "most"), [(10.0, 1.0, 1.0), (6.0, 1.03, 1.09), (0.5, 1.2, 1.2)], ids=["steady", "waves", "rushes"]
)
def test_demand_that_nobody_can_follow_is_expected_to_be_higher_than_it_was(monkeypatch, low, least, most):
    judged, judge = [], hindsight.judge
    monkeypatch.setattr(hindsight, "judge", lambda load, *rest: judged.append(max(load)) or judge(load, *rest))
    choose(lambda at: 10.0 if at % 900 < 180 else low)
    assert len(set(judged)) == 1
    assert least <= round(judged[0] / SCALE.least(10.0), 6) <= most


def test_a_past_of_less_than_three_starts_is_little():
    rushes = past(lambda at: 10.0 if at % 900 < 90 else 0.5, minutes=60)
    assert hindsight.choose(rushes, replace(SCALE, cold_start=1260.0), predicts=True).hold == hindsight.HOLDS[-1]


def test_rates_are_averaged_over_the_window():
    bins = past(lambda at: at, minutes=2)
    assert smoothed(bins, 15.0) == [each.rate for each in bins]
    assert smoothed(bins, 60.0)[-1] == pytest.approx(sum(each.rate for each in bins[-4:]) / 4)


def grain(works):
    return demand.grain([Bin(5.0 * i, work / 5.0, 5.0) for i, work in enumerate(works)])


def test_the_grain_is_the_size_of_requests_and_rushes_are_not_chance():
    # 0, 1 or 2 requests of 3 s each: as random as they come; a rush in the middle changes little.
    ticks = [3.0 * ((7 * i * i + i // 3) % 3) for i in range(60)]
    calm = grain(ticks)
    assert 1.5 < calm < 5
    assert grain([*ticks[:30], *(each + 200 for each in ticks[:2]), *ticks[30:58]]) < 2 * calm
    assert demand.grain([]) == 0.0


def test_the_trend_is_taken_only_where_it_is_certain():
    grows = past(lambda at: 1.0 + at / 600, minutes=20)
    assert demand.trend(grows, 120.0) == pytest.approx(0.2, rel=0.01)
    assert demand.trend(past(lambda at: 5.0 - at / 600, minutes=20), 120.0) == 0.0
    assert demand.trend(past(lambda at: 5.0 + (at // 15 * 7 % 5), minutes=20), 120.0) == 0.0
    assert demand.trend((), 120.0) == 0.0


@pytest.mark.parametrize("seconds", [0.7, 2.0, 4.0, 5.0, 16.0, 40.0])
def test_bins_are_cut_sharp_however_long_a_look_is(seconds):
    bins, at = (), 0.0
    while at < 300.0:
        bins, at = demand.add(bins, at, 2.0 * seconds, seconds), at + seconds
    assert [each.at for each in bins] == pytest.approx([BIN_SECONDS * index for index in range(len(bins))], abs=0.1)
    assert [each.seconds for each in bins[:-1]] == pytest.approx([BIN_SECONDS] * (len(bins) - 1))
    assert sum(each.rate * each.seconds for each in bins) == pytest.approx(2.0 * at)


@pytest.mark.parametrize(
    ("grain", "hidden"), [(0.0, 0.0), (0.5, 0.1 - 0.5 / 15), (5.0, 1 - 5 / 15), (15.0, 0.0), (60.0, 0.0)]
)
def test_a_bin_of_large_requests_shows_its_chance_itself(grain, hidden):
    scale = Scale(Target(), speed=1.0, grain=grain, margin=1.0, cold_start=120.0)
    assert scale.least(16.0) == pytest.approx(16.0 + 0.375 * (16.0 * hidden) ** 0.5)
    assert 16.0 <= scale.least(16.0) <= scale.need(16.0)
