"""Leader election: one, and soon. A clock we turn, and a Lease with optimistic locking as the API server has."""

import asyncio
from datetime import UTC, datetime

import pytest

from manta_operator.controller.errors import ClusterError, Transient
from manta_operator.controller.leader import Elector, LeaseLost, Step, Terms, claim, judge

A, B = (Terms("manta-system", "manta-operator", name) for name in "ab")


class Lease:
    """The one Lease; `fail` makes requests fail, `hang` makes them take for ever."""

    def __init__(self) -> None:
        self.spec: dict | None = None
        self.version = 0
        self.fail: ClusterError | None = None
        self.hang = False
        self.before_write = lambda: None

    async def read(self) -> dict | None:
        await self._weather()
        return self._body()

    async def create(self, spec: dict) -> dict:
        await self._weather()
        self.before_write()
        if self.spec is not None:
            raise Transient("AlreadyExists")
        return self.write(spec)

    async def replace(self, spec: dict, version: str) -> dict:
        await self._weather()
        self.before_write()
        if version != str(self.version):
            raise Transient("Conflict")
        return self.write(spec)

    def write(self, spec: dict) -> dict:
        self.spec, self.version = spec, self.version + 1
        return self._body()

    def _body(self) -> dict | None:
        return None if self.spec is None else {"metadata": {"resourceVersion": str(self.version)}, "spec": self.spec}

    async def _weather(self) -> None:
        if self.hang:
            await asyncio.Event().wait()
        if self.fail:
            raise self.fail


class Time:
    """Monotonic seconds; sleeping turns them, and `script` does something at a time."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.script: list[tuple[float, object]] = []

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        for at, action in [entry for entry in self.script if entry[0] <= self.now - 1000]:
            self.script.remove((at, action))
            action()
        await asyncio.sleep(0)


@pytest.fixture
def lease() -> Lease:
    return Lease()


@pytest.fixture
def time() -> Time:
    return Time()


def elector(lease: Lease, terms: Terms, time: Time) -> Elector:
    return Elector(lease, terms, clock=time, sleep=time.sleep)


HELD = {"holderIdentity": "other", "leaseDurationSeconds": 15, "renewTime": "1999-01-01T00:00:00.000000Z"}


@pytest.mark.parametrize(
    ("spec", "unchanged", "step"),
    [
        pytest.param(None, 0, Step.CREATE, id="there is none"),
        pytest.param(HELD, 14.9, Step.WAIT, id="another holds it, whatever its clock says"),
        pytest.param(HELD, 15, Step.TAKE, id="another has not renewed for as long as it asked"),
        pytest.param(HELD | {"holderIdentity": ""}, 0, Step.TAKE, id="released"),
        pytest.param(HELD | {"holderIdentity": "a"}, 0, Step.RENEW, id="ours"),
        pytest.param({}, 0, Step.TAKE, id="empty, made by hand"),
    ],
)
def test_judge(spec: dict | None, unchanged: float, step: Step) -> None:
    assert judge("a", None if spec is None else {"spec": spec}, unchanged) is step


def test_claim_counts_transitions_and_keeps_when_it_was_acquired() -> None:
    first, later = (datetime(2026, 1, 1, 0, 0, second, tzinfo=UTC) for second in (1, 9))
    taken = claim(A, {"holderIdentity": "other", "leaseTransitions": 4}, Step.TAKE, first)
    kept = claim(A, taken, Step.RENEW, later)
    assert taken["leaseTransitions"] == kept["leaseTransitions"] == 5
    assert kept["acquireTime"] == taken["acquireTime"] == "2026-01-01T00:00:01.000000Z"
    assert kept["renewTime"] == "2026-01-01T00:00:09.000000Z"


def test_times_must_leave_room() -> None:
    with pytest.raises(ValueError, match="retry < deadline < duration"):
        Terms("n", "l", "a", duration=10, deadline=10)


async def test_first_comes_and_second_waits_until_it_runs_out(lease: Lease, time: Time) -> None:
    await elector(lease, A, time).acquire()
    began = time()
    await elector(lease, B, time).acquire()
    assert lease.spec["holderIdentity"] == "b"
    assert 15 <= time() - began <= 15 + 2 * 2.4


async def test_release_hands_over_at_once(lease: Lease, time: Time) -> None:
    first = elector(lease, A, time)
    await first.acquire()
    second = asyncio.create_task(elector(lease, B, time).acquire())
    await asyncio.sleep(0)
    await first.release()
    began = time()
    await second
    assert lease.spec["holderIdentity"] == "b"
    assert time() - began <= 2 * 2.4


async def test_of_two_who_take_at_the_same_moment_one_gets_it(lease: Lease, time: Time) -> None:
    lease.before_write = lambda: lease.spec is None and lease.write(HELD | {"holderIdentity": "b"})
    loser = elector(lease, A, time)
    task = asyncio.create_task(loser.acquire())
    await asyncio.sleep(0)
    assert lease.spec["holderIdentity"] == "b"
    assert not task.done()
    task.cancel()


async def test_a_leader_goes_on_through_failures_shorter_than_the_deadline(lease: Lease, time: Time) -> None:
    leader = elector(lease, A, time)
    await leader.acquire()
    lease.fail = Transient("the API server is away")

    def back() -> None:
        lease.fail = None

    time.script = [(7.0, back), (60.0, lambda: setattr(lease, "hang", True))]
    keeping = asyncio.create_task(leader.keep())
    while time() < 1050:  # noqa: ASYNC110 - the clock is ours
        await asyncio.sleep(0)
    assert not keeping.done()
    assert leader.age() <= 2
    keeping.cancel()


async def test_a_leader_gives_up_before_anyone_else_may_begin(lease: Lease, time: Time) -> None:
    leader = elector(lease, A, time)
    await leader.acquire()
    lease.fail = Transient("the API server is away")
    with pytest.raises(LeaseLost, match="renewed 10 s ago; the API server is away"):
        await leader.keep()
    assert time() - 1000 < A.duration


async def test_a_request_without_an_answer_does_not_hold_up_the_end() -> None:
    lease, terms = Lease(), Terms("n", "l", "a", duration=0.3, deadline=0.2, retry=0.05)
    leader = Elector(lease, terms)
    await leader.acquire()
    lease.hang = True
    with pytest.raises(LeaseLost, match="did not answer"):
        await asyncio.wait_for(leader.keep(), 0.29)


async def test_a_process_that_slept_too_long_does_not_take_up_the_lease_again(lease: Lease, time: Time) -> None:
    leader = elector(lease, A, time)
    await leader.acquire()
    time.now += 11
    with pytest.raises(LeaseLost, match="this process hung"):
        await leader.keep()


async def test_a_lease_that_was_taken_is_lost_at_once(lease: Lease, time: Time) -> None:
    leader = elector(lease, A, time)
    await leader.acquire()
    lease.write(HELD)
    with pytest.raises(LeaseLost, match="taken by other"):
        await leader.keep()
    assert time() - 1000 <= 2


async def test_a_lease_that_was_deleted_is_made_again(lease: Lease, time: Time) -> None:
    leader = elector(lease, A, time)
    await leader.acquire()
    lease.spec = None
    keeping = asyncio.create_task(leader.keep())
    while lease.spec is None:  # noqa: ASYNC110 - likewise
        await asyncio.sleep(0)
    assert lease.spec["holderIdentity"] == "a"
    keeping.cancel()


async def test_release_that_fails_is_no_error(lease: Lease, time: Time) -> None:
    leader = elector(lease, A, time)
    await leader.acquire()
    lease.fail = Transient("gone")
    await leader.release()
    assert lease.spec["holderIdentity"] == "a"


async def test_release_of_what_another_holds_changes_nothing(lease: Lease, time: Time) -> None:
    waiting = elector(lease, B, time)
    lease.write(HELD)
    task = asyncio.create_task(waiting.acquire())
    await asyncio.sleep(0)
    task.cancel()
    await waiting.release()
    assert lease.spec == HELD


async def test_trouble_is_what_readyz_says(lease: Lease, time: Time) -> None:
    waiting = elector(lease, B, time)
    assert waiting.trouble()
    lease.fail = Transient("get Lease n/l: forbidden")
    task = asyncio.create_task(waiting.acquire())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert "forbidden" in waiting.trouble()
    lease.fail = None
    lease.write(HELD)
    for _ in range(5):
        await asyncio.sleep(0)
    assert waiting.trouble() == ""
    task.cancel()
