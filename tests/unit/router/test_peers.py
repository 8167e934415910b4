"""Limits across routers: what is told, how late it is, how much gets through, and what becomes of routers that go."""

import asyncio
import socket

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manta_runtime.router.membership import Endpoint
from manta_runtime.router.picker import http, peers
from manta_runtime.router.picker.http import Answer
from manta_runtime.router.picker.limits import Limits
from manta_runtime.router.picker.peers import Peers
from manta_runtime.router.picker.request import Request
from manta_runtime.router.picker.spending import Usage
from manta_runtime.router.picker.tenants import Tenant

HOST = "127.1.241.37"
ASKED = Request("/v1/chat/completions", prompt_tokens=10, max_tokens=10)
ANN = Tenant("ann", requests_per_minute=600)


class Routers:
    """Several routers, their clocks far apart, that tell each other once a second at moments of their own."""

    def __init__(self, count, skews=None):
        self.limits = [Limits() for _ in range(count)]
        self.skews = skews or [number * 1234.567 for number in range(count)]
        self.now = 0.0

    def clock(self, number):
        return self.now + self.skews[number]

    def ask(self, number, tenant=ANN):
        """One request at one router; returns whether it was let in."""
        limits, now = self.limits[number], self.clock(number)
        if limits.check(tenant, ASKED, now):
            return False
        limits.started(tenant, ASKED, now)
        return True

    def left(self, number, tokens, limit=100):
        """Whether a prompt of just as many tokens still fits into what ann may have in a minute."""
        tenant, now = Tenant("ann", tokens_per_minute=limit), self.clock(number)
        asked = [Request("/v1/embeddings", prompt_tokens=count) for count in (tokens, tokens + 1)]
        return [self.limits[number].check(tenant, each, now) is None for each in asked] == [True, False]

    def hear(self, number):
        """One router hears all the others, over the wire."""
        for other, limits in enumerate(self.limits):
            wire = msgspec.json.encode(limits.usage(self.clock(other)))
            self.limits[number].peers(f"r{other}", msgspec.json.decode(wire, type=Usage), self.clock(number))

    def hear_all(self):
        for number in range(len(self.limits)):
            self.hear(number)

    def end_of(self, number):
        return self.limits[number].forget_silent(self.clock(number))


def drive(routers, per_second, seconds, share=None):
    """Requests at a steady rate, in turn to each router; returns the times of those let in."""
    count = len(routers.limits)
    admitted, asked, ticks = [], 0, 100
    for tick in range(int(seconds * ticks)):
        routers.now = tick / ticks
        for number in range(count):
            if tick % ticks == (number * ticks // count):  # each at its own moment
                routers.hear(number)
        while asked < per_second * routers.now:
            if routers.ask(asked % count):
                admitted.append(routers.now)
            asked += 1
    return admitted


def most_in_a_minute(times):
    first, most = 0, 0
    for last, at in enumerate(times):
        while times[first] <= at - 60:
            first += 1
        most = max(most, last - first + 1)
    return most


@pytest.mark.parametrize(
    ("routers", "per_second", "overshoot"),
    [(1, 50, 0), (2, 12, 6), (2, 50, 25), (3, 50, 34), (4, 200, 150)],
)
def test_a_steady_load_gets_through_by_a_second_of_the_others_share_at_most(routers, per_second, overshoot):
    """docs/tenancy.md: (routers - 1) / routers of the arrivals in the second between two looks."""
    most = most_in_a_minute(drive(Routers(routers), per_second, 75))
    assert 600 <= most <= 600 + overshoot


def test_a_burst_within_one_second_can_take_the_limit_at_every_router():
    """The worst case of docs/tenancy.md; after the next exchange nobody lets anything in until it has run out."""
    routers = Routers(3)
    assert [sum(routers.ask(number) for _ in range(700)) for number in range(3)] == [600, 600, 600]
    routers.now = 1.0
    routers.hear_all()
    for routers.now in (1.0, 30.0, 59.9):
        assert not any(routers.ask(number) for number in range(3))
    routers.now = 62.0  # up to a second late for one's own, two for what others spent
    assert all(routers.ask(number) for number in range(3))


step = st.tuples(st.floats(0, 3), st.integers(0, 2), st.sampled_from(["ask", "ask", "ask", "hear", "end"]))


@settings(max_examples=100)
@given(
    st.integers(1, 8),
    st.integers(20, 100),
    st.lists(st.floats(0, 5000), min_size=3, max_size=3),
    st.lists(step, min_size=20, max_size=100),
)
def test_what_was_told_counts_whatever_the_clocks_say(rpm, tpm, skews, steps):
    """At every start: what this router knows of the last 60 s, its own and as last told, is within the limits."""
    tenant = Tenant("ann", None, rpm, tpm)
    routers = Routers(3, skews)
    log, known, running = [], [set(), set(), set()], []
    for passed, number, what in steps:
        routers.now += passed
        now = routers.now
        if what == "hear":
            routers.hear(number)
            known[number] = set(range(len(log)))
        elif what == "end" and running:
            charge, owner, entry = running.pop(0)
            routers.limits[owner].ended(charge, 5, routers.clock(owner))
            log[entry][2] = 5 if owner == number else log[entry][2]
        elif what == "ask" and not routers.limits[number].check(tenant, ASKED, routers.clock(number)):
            counted = [
                e for i, e in enumerate(log) if (e[1] == number or i in known[number]) and e[0] > now - 60 + 1e-6
            ]
            assert len(counted) + 1 <= rpm
            assert sum(5 for _ in counted) + 20 <= tpm
            charge = routers.limits[number].started(tenant, ASKED, routers.clock(number))
            running.append((charge, number, len(log)))
            log.append([now, number, 20])


@settings(max_examples=100)
@given(
    st.lists(st.floats(0, 5000), min_size=2, max_size=2), st.floats(0, 2), st.lists(st.floats(0.001, 59.9), max_size=5)
)
def test_what_is_spent_elsewhere_counts_a_minute_and_at_most_two_seconds_more(skews, at, heard_after):
    routers, tenant = Routers(2, skews), Tenant("ann", requests_per_minute=1)
    routers.now = at
    assert routers.ask(0, tenant)
    for after in (0, *sorted(heard_after)):
        routers.now = at + after
        routers.hear(1)
        assert routers.limits[1].check(tenant, ASKED, routers.clock(1))
    routers.now = at + 59.999
    assert routers.limits[1].check(tenant, ASKED, routers.clock(1))
    routers.now = at + 62.001
    assert not routers.limits[1].check(tenant, ASKED, routers.clock(1))


def test_what_is_given_back_elsewhere_is_given_back_here():
    routers, tenant = Routers(2), Tenant("ann", tokens_per_minute=100, concurrency=1)
    charge = routers.limits[0].started(tenant, ASKED, routers.clock(0))
    routers.hear_all()
    assert not routers.ask(1, tenant)
    assert routers.left(1, 80)
    routers.now = 2.0
    routers.limits[0].ended(charge, 3, routers.clock(0))
    routers.hear_all()
    assert routers.left(1, 97)
    assert routers.ask(1, tenant)


def test_news_replace_news_and_run_out_like_ones_own():
    routers = Routers(2)
    for _ in range(600):
        routers.ask(0)
    for second in range(60):
        routers.now = second + 0.5
        routers.hear_all()
        assert not routers.ask(1), second
    routers.now = 62.1
    routers.hear_all()
    assert routers.ask(1)


def test_a_router_that_is_gone_frees_its_places_in_seconds_but_what_it_spent_counts_on():
    routers, tenant = Routers(2), Tenant("ann", requests_per_minute=2, concurrency=2)
    assert routers.ask(0, tenant)
    assert routers.ask(0, tenant)
    routers.hear(1)
    over = routers.limits[1].check(tenant, ASKED, routers.clock(1))
    assert (over.kind, over.retry_after) == ("requests", 61)
    routers.now = 4.0
    routers.end_of(1)
    assert not routers.ask(1, Tenant("ann", concurrency=2))
    routers.now = 5.1
    routers.end_of(1)
    assert routers.ask(1, Tenant("ann", concurrency=2))
    assert not routers.ask(1, Tenant("ann", requests_per_minute=2))
    routers.now = 66.0
    routers.end_of(1)
    assert routers.limits[1]._peers == {}
    assert routers.ask(1, tenant)


def test_a_router_that_begins_anew_does_not_wipe_out_what_it_spent():
    routers = Routers(2)
    for _ in range(600):
        routers.ask(0)
    routers.hear(1)
    routers.limits[0] = Limits()
    routers.now = 1.0
    routers.hear(1)
    assert not routers.ask(1)


def test_ones_own_news_are_not_counted_twice():
    routers, tenant = Routers(1), Tenant("ann", concurrency=2)
    routers.ask(0, tenant)
    routers.hear(0)
    assert routers.ask(0, tenant)


def test_what_a_peer_says_is_checked():
    for text in (
        b'{"instance": "a", "fraction": 0.5, "tenants": {"ann": {"running": -1}}}',
        b'{"instance": "a", "fraction": 0.5, "tenants": {"ann": {"requests": [-1]}}}',
        b'{"instance": "a", "fraction": 7, "tenants": {}}',
        b"[]",
    ):
        with pytest.raises(msgspec.ValidationError):
            msgspec.json.decode(text, type=Usage)
    limits = Limits()
    usage = Usage("a", 0.5, {"ann": peers_spent(requests=[0, 0, 0, 7] + [0] * 80 + [7])})
    limits.peers("r", usage, 1000.0)
    assert limits._accounts["ann"].requests.total == 7


def peers_spent(**fields):
    from manta_runtime.router.picker.spending import Spent

    return Spent(**fields)


async def test_the_other_routers_are_asked_and_silent_ones_are_named_once(monkeypatch, caplog):
    monkeypatch.setattr(peers, "PERIOD_SECONDS", 0.02)
    other, ours = Limits(), Limits()
    tenant = Tenant("ann", concurrency=1)
    loop = asyncio.get_running_loop()
    other.started(tenant, ASKED, loop.time())

    def answer(question):
        assert question.path == "/usage"
        return Answer(200, msgspec.json.encode(other.usage(loop.time())))

    def nonsense(question):
        return Answer(200, b"[1]")

    def free(host):
        with socket.socket() as probe:
            probe.bind((host, 0))
            return probe.getsockname()[1]

    port, wrong, nobody = (free(HOST) for _ in range(3))
    found = [
        Endpoint(name, f"{HOST}:{at}", "", usable)
        for name, at, usable in (("good", port, False), ("wrong", wrong, True), ("gone", nobody, True))
    ]
    async with await http.serve(answer, HOST, port, 1024), await http.serve(nonsense, HOST, wrong, 1024):
        asking = asyncio.create_task(Peers(ours, lambda: found).run())
        for _ in range(200):
            if not ours.check(tenant, ASKED, loop.time()):
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
        assert ours.check(tenant, ASKED, loop.time())
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
    told = [record.getMessage() for record in caplog.records if record.name == peers.__name__]
    assert sorted(text.split()[1] for text in told) == ["gone", "wrong"]
