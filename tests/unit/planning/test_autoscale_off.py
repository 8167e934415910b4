"""When spec.autoscaling is left out replicas go down to spec.replicas in steps, and not at once."""

import pytest

from manta_operator.planning.autoscale_off import TURNED_OFF, remaining, stepping

NOON, NEARLY, THEN = "2026-01-01T12:00:00Z", "2026-01-01T12:00:59Z", "2026-01-01T12:01:00Z"
FOLLOWED = {"autoscaling": {"replicas": 8, "reason": "Needed", "time": NOON, "speed": 1.5, "numbers": {"need": 7.2}}}
LEFT = {"autoscaling": {"replicas": 8, "reason": TURNED_OFF, "time": NOON}}


def test_first_nothing_goes():
    found = stepping(1, FOLLOWED, THEN)
    assert found is not None
    assert (found["replicas"], found["reason"], found["time"]) == (8, TURNED_OFF, THEN)
    assert found["speed"] == 1.5
    assert "numbers" not in found, "what the demand needed is not watched any more"
    assert stepping(1, {"autoscaling": found}, THEN) == found


def test_then_half_of_them_each_minute_and_at_last_the_spec_rules():
    status, numbers = LEFT, []
    for minute in range(1, 6):
        now = f"2026-01-01T12:{minute:02}:00Z"
        found = stepping(0, status, now)
        if found is None:
            break
        assert found["changes"][0]["fromReplicas"] == status["autoscaling"]["replicas"]
        numbers.append(found["replicas"])
        status = {"autoscaling": found}
    assert numbers == [4, 2, 1]
    assert found is None


@pytest.mark.parametrize(
    ("asked", "status", "now", "replicas"),
    [
        (1, LEFT, NEARLY, 8),
        (6, LEFT, THEN, None),
        (8, FOLLOWED, THEN, None),
        (20, LEFT, NEARLY, None),
        (1, {}, THEN, None),
        (1, {"autoscaling": {"replicas": 8, "reason": TURNED_OFF, "time": "2027-01-01T00:00:00Z"}}, NOON, 4),
    ],
    ids=["before its time", "the last step", "what is there", "more", "it never was on", "the clock was set back"],
)
def test_how_many_stay(asked, status, now, replicas):
    found = stepping(asked, status, now)
    assert (found and found["replicas"]) == replicas


def test_the_next_step_has_its_time():
    assert remaining(LEFT["autoscaling"], NEARLY) == 1.0
    assert remaining({}, NOON) == 0.0
