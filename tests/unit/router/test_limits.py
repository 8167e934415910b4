"""Limits of tenants against a brute-force log of everything that happened, and case by case."""

import copy
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manta_runtime.router.picker.limits import RESERVE_MOST, RESERVE_UNKNOWN, Limits, estimate
from manta_runtime.router.picker.request import Request
from manta_runtime.router.picker.tenants import Tenant

CHAT = "/v1/chat/completions"
T0 = 1_000.25


def request(prompt=0, answer=0, stream=False, path=CHAT):
    return Request(path, prompt_tokens=prompt, max_tokens=answer, stream=stream)


def left(limits, tokens, now, limit=1000):
    """Whether a prompt of just as many tokens still fits into what tenant ann may have in a minute."""
    tenant = Tenant("ann", tokens_per_minute=limit)
    fits = [limits.check(tenant, request(asked, path="/v1/embeddings"), now) is None for asked in (tokens, tokens + 1)]
    return fits == [True, False]


@dataclass
class Log:
    """What a limiter without bounds on memory would know: every start and every token, with its time."""

    tenant: Tenant
    starts: list[float] = field(default_factory=list)
    tokens: list[list[float]] = field(default_factory=list)
    running: list = field(default_factory=list)

    def within(self, now, seconds):
        starts = sum(at > now - seconds for at in self.starts)
        return starts, sum(amount for at, amount in self.tokens if at > now - seconds)

    def fits(self, asked, now, seconds):
        starts, tokens = self.within(now, seconds)
        limits = self.tenant
        return (
            (limits.requests_per_minute is None or starts < limits.requests_per_minute)
            and (
                limits.tokens_per_minute is None
                or tokens + estimate(asked, limits.tokens_per_minute) <= limits.tokens_per_minute
            )
            and (limits.concurrency is None or len(self.running) < limits.concurrency)
        )

    def start(self, charge, now):
        self.starts.append(now)
        entry = [now, charge.tokens]
        self.tokens.append(entry)
        self.running.append((charge, entry))

    def end(self, number, tokens, now):
        charge, entry = self.running.pop(number)
        if tokens < charge.tokens:
            entry[1] = tokens
        else:
            self.tokens.append([now, tokens - charge.tokens])
        return charge


limit = st.none() | st.integers(0, 40)
step = st.tuples(
    st.floats(0, 1) | st.floats(0, 70) | st.just(1.0),
    st.one_of(
        st.tuples(st.just("start"), st.integers(0, 20), st.integers(1, 20)),
        st.tuples(st.just("end"), st.integers(0, 9), st.integers(0, 60)),
    ),
)


@settings(max_examples=100)
@given(limit, limit, limit, st.lists(step, min_size=15, max_size=80), st.floats(0, 100))
def test_no_minute_holds_more_than_the_limit(rpm, tpm, most, steps, now):
    """The error is one-sided: never too much in 60 s, never a refusal that 61 s would not justify."""
    tenant = Tenant("ann", None, rpm, tpm, most)
    limits, log = Limits(), Log(tenant)
    for passed, (what, first, second) in steps:
        now += passed
        if what == "end":
            if log.running:
                charge = log.end(first % len(log.running), second, now)
                limits.ended(charge, second, now)
            continue
        asked = request(first, second)
        over = limits.check(tenant, asked, now)
        if over is None:
            assert log.fits(asked, now, 60)
            if charge := limits.started(tenant, asked, now):
                log.start(charge, now)
        else:
            assert not log.fits(asked, now, 61)
            check_retry_after(limits, tenant, asked, now, over)


def check_retry_after(limits, tenant, asked, now, over):
    """Exact to the second: it passes then, and not a second sooner."""
    if over.kind == "concurrency":
        assert over.retry_after == (1 if tenant.concurrency else None)
        return
    later = Limits()
    later._accounts = copy.deepcopy(limits._accounts)
    if over.retry_after is None:
        assert later.check(tenant, asked, now + 10_000) is not None
    else:
        assert 1 <= over.retry_after <= 61
        if over.retry_after > 1:
            assert later.check(tenant, asked, now + over.retry_after - 1) is not None
        again = later.check(tenant, asked, now + over.retry_after)
        assert again is None or again.kind == "concurrency"


@pytest.mark.parametrize(
    ("case", "tenant", "kind", "words"),
    [
        ("requests", Tenant("ann", requests_per_minute=2), "requests", "limit of 2 requests per minute: 2 used"),
        ("tokens", Tenant("ann", tokens_per_minute=40), "tokens", "limit of 40 tokens per minute: 40 used, 20 asked"),
        ("concurrency", Tenant("ann", concurrency=2), "concurrency", "2 of 2 requests at a time"),
    ],
)
def test_the_third_is_over(case, tenant, kind, words):
    limits = Limits()
    for _ in range(2):
        assert limits.check(tenant, request(10, 10), T0) is None
        limits.started(tenant, request(10, 10), T0)
    over = limits.check(tenant, request(10, 10), T0 + 1)
    assert (over.kind, over.code) == (kind, "rate_limit_exceeded")
    assert f"tenant ann: {words}" in over.text, case
    assert over.retry_after == (1 if kind == "concurrency" else 60)
    assert limits.check(Tenant("bob", requests_per_minute=2), request(), T0) is None


def test_the_limit_that_lasts_longest_is_told():
    tenant = Tenant("ann", None, requests_per_minute=1, tokens_per_minute=100)
    limits = Limits()
    limits.started(tenant, request(90, 10), T0)
    limits.ended(limits.started(tenant, request(), T0 + 20), 90, T0 + 20)
    assert limits.check(tenant, request(60, 1), T0 + 20).retry_after == 61


def test_a_prompt_larger_than_the_limit_is_told_that_waiting_is_in_vain():
    over = Limits().check(Tenant("ann", tokens_per_minute=100), request(101), T0)
    assert over.retry_after is None
    assert "no waiting helps" in over.text


@pytest.mark.parametrize("tenant", [Tenant("a", requests_per_minute=0), Tenant("a", concurrency=0)])
def test_a_limit_of_nothing_lets_nothing_through(tenant):
    assert Limits().check(tenant, request(), T0).retry_after is None


def test_a_tenant_without_limits_leaves_no_trace():
    limits, tenant = Limits(), Tenant("ann")
    assert limits.check(tenant, request(10**9), T0) is None
    assert limits.started(tenant, request(10), T0) is None
    limits.ended(None, 5, T0)
    assert (limits.running(), limits.usage(T0).tenants) == ({}, {})


@pytest.mark.parametrize(
    ("case", "asked", "limit", "tokens"),
    [
        ("no length asked for", request(100), None, 100 + RESERVE_UNKNOWN),
        ("a length", request(100, 50), None, 150),
        ("as much as there is", request(100, 100_000), None, 100 + RESERVE_MOST),
        ("more than the limit has", request(100, 1000), 500, 500),
        ("a prompt beyond the limit", request(600, 1000), 500, 600),
        ("no answer in tokens", request(100, path="/v1/embeddings"), None, 100),
    ],
)
def test_what_is_charged_at_the_start(case, asked, limit, tokens):
    assert estimate(asked, limit) == tokens, case


@pytest.mark.parametrize(
    ("case", "asked", "real", "sent", "remains"),
    [
        ("less than estimated is given back", request(100, 200), 150, 0, 850),
        ("more is charged", request(100, 200), 500, 0, 500),
        ("never worked on", request(100, 200), 0, 0, 1000),
        ("a stream cut off: its prompt and what passed", request(100, 200, stream=True), None, 30, 870),
        ("a stream cut off before its first token", request(100, 200, stream=True), None, 0, 900),
        ("a long stream cut off", request(100, 200, stream=True), None, 700, 200),
        ("a stream of which nothing was heard: the estimate stays", request(100, 200, stream=True), None, None, 700),
        ("an answer cut off: the estimate stays", request(100, 200), None, 0, 700),
    ],
)
def test_what_is_charged_in_the_end(case, asked, real, sent, remains):
    limits, tenant = Limits(), Tenant("ann", tokens_per_minute=1000)
    charge = limits.started(tenant, asked, T0)
    for _ in range(2):  # the second time is ignored
        limits.ended(charge, real, T0 + 5, sent)
    assert left(limits, remains, T0 + 5), case
    assert limits.running() == {"ann": 0}


def test_what_a_long_answer_took_is_charged_when_it_is_known_and_nothing_is_given_back_twice():
    limits, tenant = Limits(), Tenant("ann", tokens_per_minute=1000)
    short, long = (limits.started(tenant, request(100, 200), T0) for _ in range(2))
    limits.ended(short, 100, T0 + 300)
    assert left(limits, 1000, T0 + 300)
    limits.ended(long, 700, T0 + 300)
    assert left(limits, 600, T0 + 300)


def test_limits_that_change_count_what_was_before():
    limits = Limits()
    for _ in range(3):
        limits.started(Tenant("ann", requests_per_minute=10), request(), T0)
    assert limits.check(Tenant("ann", requests_per_minute=3), request(), T0 + 1).kind == "requests"
    assert limits.check(Tenant("ann", requests_per_minute=4), request(), T0 + 1) is None


def test_memory_does_not_grow_with_requests_and_idle_tenants_are_forgotten():
    limits, tenant = Limits(), Tenant("ann", requests_per_minute=10**6, tokens_per_minute=10**9)
    for number in range(5_000):
        now = T0 + number * 0.1
        limits.ended(limits.started(tenant, request(1, 1), now), 2, now)
    account = limits._accounts["ann"]
    assert len(account.requests._own) == len(account.tokens._own) == 61
    limits.forget_silent(now + 62)
    assert limits._accounts == {}


def test_a_charge_that_is_taken_back_was_never_there():
    limits, tenant = Limits(), Tenant("ann", requests_per_minute=2, tokens_per_minute=1000, concurrency=1)
    charge = limits.started(tenant, request(100, 200), T0)
    for _ in range(2):  # the second time is ignored
        limits.taken_back(charge, T0 + 5)
    assert left(limits, 1000, T0 + 5)
    assert limits.running() == {"ann": 0}
    for _ in range(2):
        assert limits.check(tenant, request(), T0 + 5) is None
        limits.ended(limits.started(tenant, request(), T0 + 5), 0, T0 + 5)
    assert limits.check(tenant, request(), T0 + 5).kind == "requests"
