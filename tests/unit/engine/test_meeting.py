"""Do pods meet again that crashed a different number of times? Their kubelets back off, each on its own (simulated).

A kubelet waits 10 s after the first crash, twice as long after each that follows, 300 s at most; it forgets when a
container has run for 10 minutes. Whoever starts first waits for the others, `meeting_seconds` at most.
"""

import pytest

from manta_runtime.engine.group import MEETING_SECONDS, meeting_seconds

LONGEST = 300.0
SPREAD = 10.0
"""Seconds by which pods end apart, and by which a kubelet may be late."""


def back_off(crashes: int) -> float:
    return min(LONGEST, 10.0 * 2 ** (crashes - 1)) if crashes else 0.0


def meet(crashes: tuple[int, ...], late: tuple[float, ...], patience: float, give_up: float = 7200.0) -> float | None:
    """Return when all pods of a group run at once, in seconds after they all ended; None: never."""
    counts = list(crashes)
    starts = [back_off(count) + delay for count, delay in zip(counts, late, strict=True)]
    while (last := max(starts)) < give_up:
        impatient = [rank for rank, start in enumerate(starts) if last - start > patience]
        if not impatient:
            return last
        for rank in impatient:
            counts[rank] += 1
            starts[rank] += patience + back_off(counts[rank])
    return None


EVERY = [(head, worker) for head in range(8) for worker in range(8)]


@pytest.mark.parametrize("startup", [30.0, 60.0, 300.0, 1800.0])
@pytest.mark.parametrize("late", [(0.0, 0.0), (SPREAD, 0.0), (0.0, SPREAD)])
def test_they_meet_after_one_back_off_whoever_crashed_how_often(startup, late):
    for crashes in EVERY:
        met = meet(crashes, late, meeting_seconds(startup))
        assert met is not None, crashes
        assert met <= max(map(back_off, crashes)) + SPREAD, crashes


def test_a_group_that_ends_together_five_times_meets_within_seconds():
    assert meet((5, 5), (0.0, 2.0), meeting_seconds(60)) == back_off(5) + 2


def test_with_less_patience_some_would_meet_much_later_or_never():
    slow = [met for crashes in EVERY if (met := meet(crashes, (0.0, 0.0), patience=60.0)) is None or met > LONGEST]
    assert slow, "then MEETING_SECONDS could be shorter"


def test_a_patience_that_is_asked_for_is_kept():
    assert meeting_seconds(1800) == 1800
    assert meeting_seconds(30) == MEETING_SECONDS > LONGEST + SPREAD
