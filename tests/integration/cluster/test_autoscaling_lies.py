"""Routers that are dead, slow, wrong or lie about the demand: nothing is taken away, and the condition says so."""

import time

import pytest
from running import only_all
from scaling_lies import lies
from scaling_space import scaled

BUSY, QUIET = 6.0, 0.2
LIE_SECONDS = 45
"""Longer than it takes to go down when the demand goes, as one of them shows that does not lie."""
HONEST = "honest"
LEEWAY = 2
"""Replicas that a gap in what was seen may cost for a while: what came in it looks like fluctuation."""

pytestmark = [only_all, pytest.mark.timeout(600)]


def test_a_lie_takes_no_replica_away_and_is_told(space):
    """Every lie at once, each of a deployment of its own, beside one whose demand really goes."""
    ways = lies()
    with scaled(space, HONEST, *ways) as [honest, *liars]:
        every = [honest, *liars]
        for each in every:
            each.router.load(BUSY)
        counts = settled(space, every)
        for each in liars:
            each.router.lie = ways[each.name]
        honest.router.load(QUIET)
        fell, deadline = {}, time.monotonic() + LIE_SECONDS
        while time.monotonic() < deadline:
            now = {each.name: len(each.groups) for each in every}
            fell |= {name: number for name, number in now.items() if number < counts[name]}
            time.sleep(1)
        assert set(fell) == {HONEST}
        for each in liars:
            told = each.autoscaled("False", "SignalsMissing")
            assert f"{each.name}-router" in told["message"]
        for each in liars:
            each.router.lie = None
        for each in liars:
            each.autoscaled("True", "Following")
            each.router.load(QUIET)
        for each in liars:
            each.serves(1, seconds=180)
        assert space.operator.runs
        assert "a bug" not in space.operator.log


def test_a_router_that_is_gone_for_a_while_brings_no_rush(space):
    """Its connections are refused for half a minute, then it counts on; and it starts anew with counters of 0."""
    with scaled(space, "demo") as [demo]:
        demo.serves(1)
        demo.router.load(BUSY)
        [count] = settled(space, [demo]).values()
        demo.router.stop()
        space.stays("nothing is taken away", lambda: len(demo.groups) == count, seconds=30)
        demo.router.start()
        space.stays("no rush", lambda: count <= len(demo.groups) <= count + LEEWAY, seconds=20)
        demo.router.restart()
        space.stays("none is taken away", lambda: count <= len(demo.groups) <= count + LEEWAY, seconds=20)


def settled(space, every, seconds=20):
    """Wait until all of them have grown, and nothing has changed for so many seconds; the numbers by name."""
    counts, since, deadline = {}, time.monotonic(), time.monotonic() + 240
    while time.monotonic() - since < seconds or min(counts.values()) < 2:
        assert time.monotonic() < deadline, space.picture()
        now = {each.name: each.look() for each in every}
        if now != counts:
            counts, since = now, time.monotonic()
        time.sleep(1)
    return counts
