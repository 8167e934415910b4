"""How long starts take, as those that were seen did: one that fetched for an hour must not rule for ever."""

import pytest
from groups import bodies, condition, group, restarted, stamp, stopped

from manta_operator.planning.autoscale_starts import Starts, known, watched
from manta_operator.planning.observe import observe

NOW = 10_000.0


def seen(*groups):
    return observe(*bodies(*groups), [], now=NOW)


def slow(revision="new", index=0, took=3300.0):
    """One that took so long, 60 s as the others do if it is not said."""
    made = group(revision, index, created=NOW - 3500)
    made.pods[0]["status"]["conditions"] = [condition("Ready", "True", NOW - 3500 + took)]
    return made


def measured(*groups, revision="new", before=None):
    return watched(known(before), seen(*groups), revision).seconds


def test_a_cold_start_is_what_the_last_starts_took():
    made = [group("new", 0, created=NOW - 900), group("new", 1, created=NOW - 500)]  # 60 s each
    assert measured(*made, before=7.0) == 60.0
    assert measured(*made, revision="other", before=7.0) == 7.0
    assert measured(group("new", 0, ready=False)) is None


def test_a_start_within_the_second_that_times_are_written_in_is_one_all_the_same():
    at_once = group("new", 0, created=NOW - 900)
    at_once.pods[0]["status"]["conditions"] = [condition("Ready", "True", NOW - 900)]
    assert measured(at_once) == 1.0


def test_restarts_teach_nothing():
    again = restarted(group("new", 0), 1, NOW - 400)
    crashed = group("new", 1)
    crashed.pods[0]["status"]["containerStatuses"][0]["restartCount"] = 1
    assert measured(again, crashed, stopped(group("new", 2), NOW - 5), before=42.0) == 42.0


def test_a_replica_that_was_ready_before_is_no_start_of_a_day():
    blinked = group("new", 0, created=NOW - 9000)
    blinked.pods[0]["status"]["conditions"] = [condition("Ready", "True", NOW - 40)]
    assert measured(blinked, before=42.0) == 42.0


@pytest.mark.parametrize(("before", "count", "found"), [(34.0, 1, 34.0), (34.0, 2, 900.0), (None, 1, 900.0)])
def test_one_start_that_took_far_too_long_is_doubted(before, count, found):
    made = [slow(index=index, took=900.0) for index in range(count)]
    assert measured(*made, before=before) == found


def test_the_wait_for_a_place_is_no_part_of_a_start():
    waited = group("new", 0, created=NOW - 900)
    waited.pods[0]["status"]["startTime"] = stamp(NOW - 860)
    assert measured(waited) == 20.0


def comes_and_goes(starts, first, times):
    """Let a second replica serve and go, so many times; return what is known after each."""
    found = []
    for index in range(1, times + 1):
        for there in ((*first, group("new", index, created=NOW - 500)), first):
            starts = watched(starts, seen(*there), "new")
            starts = watched(starts, seen(*there), "new")  # a pass that sees nothing new changes nothing
        found.append(starts.seconds)
    return found


def test_a_first_start_that_fetched_the_weights_is_outvoted_by_the_next():
    first = (slow(),)
    starts = watched(Starts(), seen(*first), "new")
    assert starts.seconds == 3300.0
    assert comes_and_goes(starts, first, 3) == [60.0, 60.0, 60.0]


def test_and_as_many_as_began_together_by_three():
    first = (slow(index=7), slow(index=8), slow(index=9))
    starts = watched(Starts(), seen(*first), "new")
    assert comes_and_goes(starts, first, 3)[-1] == 60.0


def test_a_replica_is_measured_once():
    starts = watched(Starts(), seen(group("new", 0, created=NOW - 900)), "new")
    blinked = group("new", 0, created=NOW - 900)
    blinked.pods[0]["status"]["conditions"] = [condition("Ready", "True", NOW - 40)]
    assert watched(starts, seen(blinked), "new") == starts


def test_of_a_new_revision_two_starts_are_believed_whatever_came_before():
    starts = Starts((60.0,) * 5, "old")
    starts = watched(starts, seen(slow(took=600.0)), "new")
    assert starts.seconds == 60.0
    starts = watched(starts, seen(slow(took=600.0), slow(index=1, took=600.0)), "new")
    assert starts.seconds == 600.0
