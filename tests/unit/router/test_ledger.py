"""What counts as load: starts, ends, retries, other routers' requests, work that is pending."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manta_runtime.router.membership import Endpoint
from manta_runtime.router.picker.completions import End
from manta_runtime.router.picker.ledger import SETTLED_SECONDS, UNKNOWN_RATE_SECONDS, Ledger
from manta_runtime.router.picker.scrape import Look

PODS = [Endpoint(name, f"10.0.0.{number}:8000", str(number), usable=True) for number, name in enumerate("ab")]
A, B = (pod.address for pod in PODS)


def ledger(*requests, replica="a", max_num_seqs=None, **placed):
    found = Ledger(max_num_seqs)
    found.follow(PODS, PODS, frozenset())
    for request in requests:
        found.placed(request, replica, 0.0, tried=(A, B), **placed)
    return found


def loads(found, now=0.0):
    return {c.replica: c.load for c in found.candidates(now)}


def test_a_request_counts_until_it_ends():
    found = ledger("r1", "r2")
    assert loads(found) == {"a": 2, "b": 0}
    assert found.ended(End("r1"), 1.0).request == "r1"
    assert found.ended(End("r1"), 1.0) is None
    assert found.ended(End("of nobody"), 1.0) is None
    assert loads(found) == {"a": 1, "b": 0}


def test_a_request_that_is_asked_again_counts_once():
    found = ledger("r1")
    found.placed("r1", "b", 1.0)
    assert loads(found) == {"a": 0, "b": 1}
    assert found.in_flight() == {"a": 0, "b": 1}


def test_a_request_counts_where_it_is_served():
    found = ledger("r1", work=100)
    found.first_byte("r1", B)
    assert loads(found) == {"a": 0, "b": 1}
    assert [c.pending_tokens for c in found.candidates(0.0)] == [0, 0]
    found.ended(End("r1", upstream=B), 1.0)
    assert loads(found) == {"a": 0, "b": 0}


def test_requests_of_other_routers_count():
    found = ledger("r1")
    found.observe("a", Look(running=3, waiting=1), 1.0)
    found.observe("b", Look(running=2), 1.0)
    assert loads(found) == {"a": 4, "b": 2}
    found.ended(End("r1"), 2.0)
    assert loads(found) == {"a": 3, "b": 2}


def test_a_request_the_engine_does_not_have_is_no_load_once_it_is_old_but_known_until_its_end():
    found = ledger("slow", bill="the bill", work=7)
    found.observe("a", Look(), SETTLED_SECONDS - 1)
    assert loads(found)["a"] == 1
    found.observe("a", Look(), SETTLED_SECONDS + 1)
    assert (loads(found)["a"], "slow" in found) == (0, True)
    assert found.ended(End("slow", upstream=A), 60.0).bill == "the bill"
    assert (loads(found)["a"], "slow" in found) == (0, False)


def test_a_request_that_was_retried_elsewhere_is_settled_there():
    found = ledger("r1", bill="the bill")
    found.observe("a", Look(), SETTLED_SECONDS + 1)
    found.observe("b", Look(running=1), SETTLED_SECONDS + 1)
    assert loads(found) == {"a": 0, "b": 1}
    end = End("r1", attempts=2, upstream=B)
    assert found.ended(end, 9.0).bill == "the bill"
    found.observe("b", Look(), 10.0)
    assert loads(found) == {"a": 0, "b": 0}


def test_an_end_that_nobody_tells_comes_with_time():
    found = Ledger(longest=60.0)
    found.follow(PODS, PODS, frozenset())
    for request, at in (("r1", 0.0), ("r2", 5.0), ("r1", 10.0), ("r3", 20.0)):
        found.placed(request, "a", at)
    found.observe("a", Look(), 30.0)
    assert found.overdue(65.0) == []
    assert [placed.request for placed in found.overdue(70.1)] == ["r2", "r1"]
    assert ("r1" in found, "r3" in found) == (False, True)


def test_when_envoy_goes_its_requests_go():
    found = ledger("r1", "r2")
    assert {placed.request for placed in found.forget_requests()} == {"r1", "r2"}
    assert loads(found) == {"a": 0, "b": 0}


def test_accounts_of_removed_replicas_go_and_their_requests_still_end():
    found = ledger("r1", work=7, bill="the bill")
    found.keep_only(["b"])
    found.follow(PODS[1:], PODS[1:], frozenset())
    assert found.in_flight() == {"b": 0}
    assert loads(found, 99.0) == {"b": 0}
    assert found.ended(End("r1", "UF", upstream=A), 1.0).bill == "the bill"


def test_a_replica_that_comes_under_the_name_of_one_that_went_begins_with_nothing():
    found = ledger("r1", work=1000, stream=True)
    found.keep_only(["b"])
    found.follow(PODS, PODS, frozenset())
    found.placed("r2", "a", 0.0, work=700)
    found.ended(End("r1", first_byte_ms=1, first_data_ms=1, duration_ms=5), 0.5)
    a = found.candidates(0.5)[0]
    assert (a.load, a.pending_tokens, a.prefill_rate) == (1, 700, 0.0)


def test_the_operator_is_told_our_own_load_of_every_group():
    found = Ledger()
    pods = [Endpoint("demo-abc-0-0", A, "0", usable=True)]
    found.follow(pods, pods, frozenset())
    for request in ("r1", "r2"):
        found.placed(request, "demo-abc-0-0", 0.0)
    found.observe("demo-abc-0-0", Look(running=7), 9.0)
    assert found.by_group(["demo-abc-0-0", "demo-abc-11-0"]) == {"demo-abc-0": 2, "demo-abc-11": 0}


def test_who_is_out_is_suspect():
    found = ledger()
    found.follow(PODS, PODS, frozenset("b"))
    assert [c.suspect for c in found.candidates(0.0)] == [False, True]


def test_work_is_pending_until_it_should_be_done():
    found = ledger("r1", "r2", work=1000)
    assert found.candidates(0.0)[0].pending_tokens == 2000
    assert found.candidates(UNKNOWN_RATE_SECONDS + 0.1)[0].pending_tokens == 0
    found = ledger("r1", "r2", work=1000)
    found.ended(End("r1"), 0.1)
    assert found.candidates(0.1)[0].pending_tokens == 1000


def test_the_rate_is_learned_from_streams_and_what_waited_before_does_not_count():
    found = ledger("r1", "r2", work=1000, stream=True)
    # The client had waited for 3 s when it was placed at 0 s; the first data came 0.5 s later, the end after 2 s.
    end = End("r2", first_byte_ms=3100, first_data_ms=400, duration_ms=5000, prompt_tokens=1000, cached_tokens=0)
    found.ended(end, 2.0)
    assert found.candidates(2.0)[0].prefill_rate == pytest.approx(2000 / 0.5)
    found.placed("r3", "b", 10.0, work=4000)
    assert found.candidates(10.9)[1].pending_tokens == 4000
    assert found.candidates(11.1)[1].pending_tokens == 0, "what nobody has measured at b is as elsewhere"


def test_saturation_follows_the_looks():
    found = ledger(*map(str, range(10)))
    assert found.room
    for at in (1.0, 2.0):
        found.observe("a", Look(running=8, waiting=2, kv_usage=0.95), at)
    a, b = found.candidates(2.0)
    assert (a.saturated, a.capacity, b.saturated) == (True, 8, False)
    found.observe("b", Look(running=5), 2.0)
    assert loads(found, 2.0)["b"] == 5
    for name in "ab":
        found.unseen(name)
    assert not found.candidates(2.0)[0].saturated
    assert loads(found, 2.0)["b"] == 0, "nor are there requests of others"


def test_no_room_when_all_have_as_many_as_they_run_and_one_more():
    found = ledger("r1", "r2", "r3", max_num_seqs=2)
    assert found.room
    for request in ("r4", "r5", "r6"):
        found.placed(request, "b", 0.0)
    assert not found.room
    found.ended(End("r5"), 0.1)
    assert found.room


@pytest.mark.parametrize(
    ("end", "failed"),  # for sure, perhaps
    [
        (End("r"), ("", "")),
        (End("r", attempts=1, upstream=B), ("", "")),
        (End("r", attempts=2, upstream=B), ("", "a")),
        (End("r", attempts=2, upstream=A), ("", "")),
        (End("r", "UF", attempts=1, upstream=A), ("a", "")),
        (End("r", "UF,URX", attempts=2, upstream=B), ("b", "a")),
        (End("r", "URX", status=503, attempts=2, upstream=B), ("", "a")),
        (End("r", "UC", attempts=1, upstream=A), ("a", "")),
        (End("r", "UF", attempts=1), ("a", "")),
        (End("r", "DC", attempts=1, upstream=A), ("", "")),
        (End("r", "UF", attempts=2, upstream="10.9.9.9:9004"), ("", "")),
    ],
)
def test_which_replicas_failed(end, failed):
    found = ledger("r")
    assert tuple("".join(names) for names in found.failed(found.ended(end, 1.0), end)) == failed


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["place", "end", "byte", "observe", "lost", "time"]), st.integers(0, 9), st.booleans()
        ),
        max_size=80,
    )
)
def test_counts_are_exact_whatever_happens(steps):
    found, open_, now = ledger(), {}, 0.0
    placed_at, known = {}, set()  # open_ and those that an engine said it does not have
    for step, number, flag in steps:
        request, replica = str(number), "ab"[flag]
        now += 0.3
        if step == "place":
            found.placed(request, replica, now, tried=(A, B), work=number * 10)
            open_.pop(request, None)
            open_[request] = placed_at[request] = replica, now
            known.add(request)
        elif step == "end":
            assert (found.ended(End(request, upstream=[A, B][flag]), now) is not None) == (request in known)
            open_.pop(request, None)
            known.discard(request)
        elif step == "byte":
            found.first_byte(request, [A, B][flag])
            if request in known and placed_at[request][0] != replica:
                open_.pop(request, None)
                open_[request] = placed_at[request] = replica, placed_at[request][1]
        elif step == "observe":
            found.observe(replica, Look(running=number), now)
            old = [r for r, (at, since) in open_.items() if at == replica and since < now - SETTLED_SECONDS]
            for request in old[: max(0, len(old) - number)]:
                del open_[request]
        elif step == "lost":
            assert {placed.request for placed in found.forget_requests()} == known
            open_.clear()
            known.clear()
        counts = {name: [at for at, _ in open_.values()].count(name) for name in "ab"}
        assert found.in_flight() == counts
        for candidate in found.candidates(now):
            assert candidate.load >= counts[candidate.replica]
            assert candidate.pending_tokens >= 0
    assert all(c.pending_tokens == 0 for c in found.candidates(now + 1e6))
