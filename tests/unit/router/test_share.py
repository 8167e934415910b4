"""How many tokens each replica got: nobody can put one out of service by what a request claims to be."""

from collections import Counter

import pytest
from picker_world import World

from manta_runtime.router.membership import Endpoint
from manta_runtime.router.picker.completions import End
from manta_runtime.router.picker.ledger import Ledger
from manta_runtime.router.picker.share import FADE_SECONDS, Share

HUGE = "x" * (4 << 20)


def others(some, count=300):
    """Where everybody else's requests go, five a second."""
    went = Counter()
    for number in range(count):
        some.now += 0.2
        decision = some.ask(body={"model": "t", "prompt": f"{number} " + "abc " * 500})
        went[decision.replica] += 1
        some.end(decision, upstream=decision.endpoints[0], attempts=1, prompt_tokens=500, completion_tokens=9)
    return went


@pytest.mark.parametrize(
    "end",
    [
        pytest.param({"status": 400}, id="refused by the engine"),
        pytest.param({"status": 0, "flags": "DC"}, id="the client left before an answer"),
        pytest.param({"status": 200, "flags": "DC", "events": 1}, id="the client left an answer"),
        pytest.param({"status": 200, "prompt_tokens": 600, "completion_tokens": 5}, id="it was not so huge"),
        pytest.param(None, id="it still runs"),
    ],
)
@pytest.mark.parametrize("history", [0, 100])
def test_a_huge_prompt_takes_no_replica_out_of_service(tmp_path, end, history):
    some = World(tmp_path)
    some.replicas("a-0", "b-0", "c-0")
    others(some, history)
    for _ in range(2):
        decision = some.ask(body={"model": "t", "prompt": HUGE})
        some.now += 0.1
        if end is not None:
            some.decider.ended(End(decision.request_id, upstream=decision.endpoints[0], attempts=1, **end))
    some.now += 60
    went = others(some)
    assert min(went.values()) > 0.2 * went.total(), went


def filled(requests=1000):
    share = Share()
    for number in range(requests):
        share.add("ab"[number % 2], 1000, number / 10)
    return share


def test_what_has_not_ended_counts_as_a_few_average_requests():
    assert Share().add("a", 1_000_000, 0.0) == 10 * 1024
    assert filled().add("a", 1_000_000, 100.0) == pytest.approx(10_000, rel=0.3)
    assert filled().add("a", 3000, 100.0) == 3000


def test_corrections_leave_what_would_have_been():
    """Whatever was thought at first, in the end each prompt counts as what it was, and as old as it is."""
    share, same, at = filled(), filled(), 100.0
    big = share.add("a", 5000, at)
    none = share.add("b", 3000, at)
    same.add("a", 2000, at)
    for each in (share, same):
        each.add("b", 10, at + FADE_SECONDS)
    share.correct("a", big, 2000, at)
    share.correct("b", none, 0, at)
    assert share.sent == pytest.approx(same.sent, rel=1e-3)
    assert share.scale() == pytest.approx(same.scale(), rel=1e-3)
    share.correct("gone", 1000, 0, at)
    share.correct("a", 10_000_000, 0, at)
    assert share.sent["a"] == 0.0


def test_a_refusal_says_nothing_of_how_fast_an_engine_is():
    ledger = Ledger()
    members = [Endpoint("a", "a", "10.0.0.1:8000", usable=True)]
    ledger.follow(members, members, frozenset())
    ledger.placed("r1", "a", 0.0, work=1_000_000, stream=True)
    ledger.ended(End("r1", status=400, first_byte_ms=5, first_data_ms=0, duration_ms=6), 0.006)
    assert ledger.candidates(1.0)[0].prefill_rate == 0.0
    ledger.placed("r2", "a", 1.0, work=10_000, stream=True)
    ledger.ended(End("r2", status=200, first_byte_ms=5, first_data_ms=1995, duration_ms=9000), 10.0)
    assert ledger.candidates(10.0)[0].prefill_rate == pytest.approx(5000, rel=0.01)
