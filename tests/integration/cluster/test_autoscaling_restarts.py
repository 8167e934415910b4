"""Operators that die, or whose wall clock jumps, in the middle of scaling: the number goes on."""

import time
from datetime import datetime
from pathlib import Path

import pytest
from running import only_all
from scaling_space import FAST, scaled

BUSY, QUIET = 6.0, 0.2
"""Requests a second: of three replicas at least, and of one."""
LEASE_SECONDS = 9
HOUR = 3600
CLOCK = Path(__file__).parents[2] / "support" / "scaling_clock.py"


def test_killed_in_the_middle_of_a_scale_up_it_goes_on(space, own):
    """kill -9 when more are asked for and none of them serves: the next operator asks for as many, and they serve."""
    operator = own()
    with scaled(space, "demo") as [demo]:
        demo.serves(1)
        space.played.hold("demo-")
        for name in ("demo-router", *demo.groups):
            space.played.let(name)
        demo.router.load(BUSY)
        space.until("it grows", lambda: demo.look() == 1 and demo.asked >= 3)
        operator.kill()
        asked = demo.asked
        operator.start()
        space.until("as many stand as were asked for", lambda: len(demo.groups) >= asked)
        space.played.let("demo-")
        space.until("they serve", lambda: demo.look() >= asked)
        fell = [each for each in space.status("demo")["autoscaling"]["changes"] if lowered(each)]
        assert not fell


def test_killed_in_the_middle_of_a_scale_down_it_goes_on(space, own):
    """kill -9 when fewer are asked for: what was begun is finished, and nobody begins from spec.replicas."""
    operator = own()
    with scaled(space, "demo", behaviour=FAST | {"downPercent": 1, "downSeconds": 5}) as [demo]:
        demo.serves(1)
        demo.router.load(BUSY)
        space.until("it has grown", lambda: demo.look() >= 3 and len(demo.groups) >= 3)
        most = demo.asked
        demo.router.load(QUIET)
        space.until("it shrinks", lambda: demo.asked < most, seconds=120)
        operator.kill()
        asked = demo.asked
        operator.start()
        space.until("as few stand as were asked for", lambda: demo.look() <= asked, seconds=120)
        demo.serves(1, seconds=120)
        changes = space.status("demo")["autoscaling"]["changes"]
        assert all(lowered(each) for each in changes[: 1 + changes.index(next(filter(lowered, reversed(changes))))])


def lowered(change):
    return change["toReplicas"] < change["fromReplicas"]


def test_requests_that_wait_at_zero_are_served_by_the_next_operator(space, own):
    """Nobody operates while a request is held at zero: the next operator starts a replica as soon as it is there."""
    operator = own()
    zero = {"afterSeconds": 10, "holdSeconds": 120}
    with scaled(space, "demo", minReplicas=0, scaleToZero=zero) as [demo]:
        demo.serves(1)
        demo.serves(0, seconds=120)
        operator.kill()
        demo.router.hold(3)
        operator.start()
        demo.serves(1)


@only_all
def test_a_standby_goes_on_with_the_number(space, own):
    """Two operators with a Lease, the leader dies in the middle of a scale-up: the other finishes it."""
    options = ("--leader-elect", f"--lease-namespace={space.name}", f"--lease-seconds={LEASE_SECONDS}")
    first = own("one", *options)
    space.until("the first leads", lambda: "this replica acts" in first.log)
    second = own("two", *options)
    with scaled(space, "demo") as [demo]:
        demo.serves(1)
        demo.router.load(BUSY)
        space.until("it grows", lambda: demo.look() and demo.asked >= 3)
        asked = demo.asked
        first.kill()
        space.until("the second leads", lambda: "this replica acts" in second.log)
        space.until("as many serve", lambda: demo.look() >= asked)
        demo.router.load(QUIET)
        demo.serves(1, seconds=120)


@only_all
@pytest.mark.parametrize("jump", [HOUR, -HOUR], ids=["forward", "back"])
def test_nothing_moves_because_the_wall_clock_does(space, own, jump):
    """An hour forward or back, at three replicas with their load: they stay; then they follow the demand as before."""
    clock = space.server.folder / f"{space.name}-clock"
    clock.write_text("0")
    own(program=(str(CLOCK), str(clock)))
    with scaled(space, "demo") as [demo]:
        demo.serves(1)
        demo.router.load(BUSY)
        space.until("it has grown", lambda: demo.look() >= 3 and len(demo.groups) >= 3)
        settled = steady(demo)
        clock.write_text(str(jump))
        space.stays("the number", lambda: demo.look() == settled and demo.asked == settled, seconds=40)
        demo.autoscaled("True", "Following")
        demo.router.load(QUIET)
        demo.serves(1, seconds=120)
        told = datetime.fromisoformat(space.status("demo")["autoscaling"]["time"])
        assert abs(told.timestamp() - time.time() - jump) < HOUR / 2, "the clock that was moved is the operator's"
        demo.router.load(BUSY)
        space.until("it grows again", lambda: demo.look() >= 3)


def steady(demo, seconds=20):
    """Wait until nothing else has been asked for during so many seconds; the number."""
    deadline, since, asked = time.monotonic() + 180, time.monotonic(), demo.asked
    while time.monotonic() - since < seconds or demo.look() != asked:
        assert time.monotonic() < deadline, demo.space.picture()
        time.sleep(0.5)
        if demo.asked != asked:
            since, asked = time.monotonic(), demo.asked
    return asked
