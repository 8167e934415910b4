"""status.autoscaling: what it says of a decision, and that it is not written for the sake of numbers that tremble."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from manta_operator.api.autoscaling import MOST_CHANGES, AutoscalingStatus
from manta_operator.planning.autoscale import Learned, told
from manta_operator.planning.autoscale_status import BEGUN, BOUNDED, REASONS
from manta_operator.scaling import words
from manta_operator.scaling.decide import Decision

UNKNOWN = Learned()
NEED = Decision(3, "3 replicas stay: the load of now needs 2.6", {"need": 2.6, "load": 2.1, "waiting": 0.0}, "need")


def at(seconds: float) -> str:
    return datetime.fromtimestamp(1_790_000_000 + seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def after(*steps, learned=UNKNOWN):
    """The status after decisions: (seconds, decision)."""
    status = {}
    for seconds, decided in steps:
        status = {"autoscaling": told(status, decided, decided.replicas, learned, at(seconds))}
    return status["autoscaling"]


def test_before_anything_is_decided_it_says_where_it_began():
    found = told({}, None, 3, UNKNOWN, at(0))
    assert (found["replicas"], found["reason"]) == (3, "Watching")
    assert told({"autoscaling": found}, None, 3, UNKNOWN, at(500)) == found


def test_a_decision_is_told_with_its_numbers_and_what_is_known():
    found = told({}, NEED, 3, Learned(0.9, 61.04), at(0))
    AutoscalingStatus.model_validate(found)
    assert (found["reason"], found["message"], found["numbers"]) == ("Needed", NEED.reason, NEED.numbers)
    assert (found["speed"], found["coldStartSeconds"]) == (0.9, 61.0)


def test_a_change_is_told_at_once_newest_first():
    more = replace(NEED, replicas=5, reason="from 3 to 5 replicas: 4.6 are needed")
    less = replace(NEED, replicas=4, reason="from 5 to 4 replicas", because="gently")
    found = after((0, NEED), (2, more), (4, less))
    assert [(each["fromReplicas"], each["toReplicas"], each["reason"]) for each in found["changes"]] == [
        (5, 4, "SteppingDown"),
        (3, 5, "Needed"),
    ]
    assert found["changes"][0] == {
        "time": at(4), "fromReplicas": 5, "toReplicas": 4, "reason": "SteppingDown", "message": "from 5 to 4 replicas",
    }  # fmt: skip


def test_only_so_many_changes_are_kept():
    found = after(*((2 * step, replace(NEED, replicas=step % 2)) for step in range(3 * MOST_CHANGES)))
    assert len(found["changes"]) == MOST_CHANGES
    assert found["changes"][0]["time"] > found["changes"][-1]["time"]


def test_new_bounds_are_a_change_of_their_own():
    before = {"autoscaling": told({}, NEED, 3, UNKNOWN, at(0))}
    found = told(before, None, 2, UNKNOWN, at(2))
    assert (found["replicas"], found["reason"]) == (2, "Bounded")
    assert found["changes"][0]["message"] == found["message"]


@given(st.lists(st.floats(0.95, 1.05), min_size=1, max_size=40), st.floats(0, 50))
def test_a_steady_load_writes_nothing(trembling, load):
    first = told({}, replace(NEED, numbers={"need": load, "load": load, "waiting": 3.0}), 3, UNKNOWN, at(0))
    now = first
    for look, factor in enumerate(trembling, start=1):
        numbers = {"need": load * factor, "load": load * factor, "waiting": float(look)}
        now = told({"autoscaling": now}, replace(NEED, numbers=numbers), 3, UNKNOWN, at(97 * look))
    assert now == first


def test_within_a_minute_not_even_another_reason_is_written():
    steps = [(0, NEED), *((2 * look, replace(NEED, because=("held", "need")[look % 2])) for look in range(1, 29))]
    assert after(*steps)["time"] == at(0)
    assert after(*steps, (62, replace(NEED, because="held")))["reason"] == "Kept"


def test_numbers_that_moved_are_told_after_a_minute():
    more = replace(NEED, numbers={"need": 2.9, "load": 2.4})
    assert after((0, NEED), (30, more))["numbers"] == NEED.numbers
    assert after((0, NEED), (61, more))["numbers"] == more.numbers


def test_a_clock_that_went_back_does_not_silence_it():
    assert after((9_000, NEED), (0, replace(NEED, because="missing")))["reason"] == "SignalsMissing"


def test_what_was_said_before_is_kept_as_long_as_nothing_is_decided():
    before = told({}, NEED, 3, Learned(0.9, 60.0), at(0))
    assert told({"autoscaling": before}, None, 3, Learned(0.9, 60.0), at(900)) == before


def test_what_is_no_number_is_left_out():
    odd = replace(NEED, numbers={"need": 2.0, "load": float("inf"), "speed": float("nan")})
    assert told({}, odd, 3, UNKNOWN, at(0))["numbers"] == {"need": 2.0}


def test_every_reason_of_a_decision_has_its_word_and_its_line_in_the_docs():
    assert set(words._BECAUSE) <= set(REASONS)
    page = (Path(__file__).parents[3] / "docs/conditions.md").read_text().partition("## Why so many")[2]
    assert not [reason for reason in {*REASONS.values(), BEGUN, BOUNDED} if f"`{reason}`" not in page]


def test_several_looks_between_two_writes_are_one_change():
    """A pass takes its time: the decision it tells of finds the number there already, or made half the way."""
    later = replace(NEED, replicas=5, reason="5 replicas stay: the load of now needs 4.6")
    halfway = replace(later, reason="from 4 to 5 replicas: the load of now needs 4.6")
    for decided in (later, halfway):
        change = after((0, NEED), (2, decided))["changes"][0]
        assert (change["fromReplicas"], change["toReplicas"]) == (3, 5)
        assert change["message"] == "from 3 to 5 replicas: the load of now needs 4.6"
