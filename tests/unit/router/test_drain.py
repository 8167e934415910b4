"""When a draining router may end."""

import pytest

from manta_runtime.router.drain import after_look, begin, is_over


def drained(looks, seconds=60.0):
    """Return when (of the times looked at) the drain is over; `looks`: time → (active, sent)."""
    drain = begin(seconds, 0.0)
    for now, (active, sent) in sorted(looks.items()):
        drain = after_look(drain, active, sent, now)
        if is_over(drain, now):
            return now
    return None


SECONDS = [0.5 * number for number in range(1, 200)]


@pytest.mark.parametrize(
    ("case", "look", "over"),
    [
        ("nobody comes, nothing runs", lambda now: (0, 7), 3.0),
        ("a long stream", lambda now: (int(now < 20), 7), 20.0),
        ("clients learn one after the other", lambda now: (0, 7 + min(8, int(now / 0.5))), 7.0),
        ("nobody else is there: they come for ever", lambda now: (0, int(now * 10)), 15.0),
        ("a stream that never ends", lambda now: (1, 7), 60.0),
    ],
)
def test_a_router_ends_when_nobody_comes_and_nothing_runs(case, look, over):
    assert drained({now: look(now) for now in SECONDS}) == over, case


def test_without_time_to_drain_it_ends_at_once():
    assert drained({0.0: (5, 5)}, seconds=0) == 0.0
