"""Counters of routers that come, restart, fall silent and go: one Demand, which never decreases and never jumps."""

import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manta_operator.scaling.ledger import WHOLE_SECONDS, Ledger, once, take, unsure
from manta_operator.scaling.reading import Document

LOOK = 2.0


def document(requests, *, instance="1", held=0, in_flight=0, age=0.0, tokens=None):
    counts = (requests, requests * 100.0 if tokens is None else tokens, requests * 10.0, requests, requests * 5000.0)
    return Document(instance, counts, in_flight, held, age, 1)


class Play:
    """Looks at routers, one every two seconds; every router is a process of its own."""

    def __init__(self):
        self.ledger, self.now, self.demand = Ledger(), 100.0, None

    def look(self, needed=None, seconds=LOOK, **answers):
        self.now += seconds
        needed = answers if needed is None else needed
        answers = {uid: said and replace(said, instance=f"{uid} {said.instance}") for uid, said in answers.items()}
        self.ledger, self.demand = take(self.ledger, answers, needed, self.now)
        return self.demand


def test_the_counters_of_all_routers_are_added():
    play = Play()
    assert play.look(a=document(10, held=2, in_flight=1, age=3.0), b=document(5, in_flight=4)).requests == 15
    found = play.look(a=document(12, held=2, in_flight=1, age=3.0), b=document(6, in_flight=4, age=1.0))
    assert (found.requests, found.tokens_in, found.tokens_out, found.answers, found.pairs) == (18, 1800, 180, 18, 90000)
    assert (found.in_flight, found.held, found.queue_age, found.partial) == (5, 2, 3.0, False)


def test_what_a_router_brought_stays_when_it_goes_and_a_new_one_begins_at_zero():
    play = Play()
    play.look(a=document(10), b=document(5))
    assert play.look(a=document(11)).requests == 16
    assert play.look(a=document(11), c=document(3)).requests == 19
    assert not play.demand.partial


def test_a_restart_neither_loses_nor_doubles():
    play = Play()
    play.look(a=document(10))
    play.look(a=document(14))
    assert play.look(a=document(3, instance="2")).requests == 17
    assert play.look(a=document(4, instance="2")).requests == 18


def test_nobody_to_read_is_no_demand_at_all_and_then_it_goes_on():
    play = Play()
    play.look(a=document(10))
    assert play.look(a=None) is None
    assert play.look(a=None) is None
    # The next decision divides by all the seconds since the last demand that was seen, so all of it counts.
    assert play.look(seconds=50, a=document(110)).requests == 110


def test_a_router_of_before_that_could_not_be_read_at_first_counts_from_where_it_is():
    play = Play()
    assert play.look(a=document(10), b=None).partial
    assert play.look(a=document(11), b=document(5000)).requests == 11
    found = play.look(a=document(11), b=document(5002))
    assert (found.requests, found.partial) == (13, False)


@pytest.mark.parametrize("missed", [1, 2, 5, 30, 200])
def test_a_router_that_is_back_brings_no_rush(missed):
    """Two routers with ten requests a second each; one of them falls silent for a while."""
    play = Play()
    play.look(a=document(0), b=document(0))
    for each in range(1, missed + 1):
        before = play.demand
        found = play.look(a=document(20 * each), b=None)
        assert (found.partial, found.requests - before.requests) == (True, 20)
    before = play.demand
    found = play.look(a=document(20 * (missed + 1)), b=document(20 * (missed + 1)))
    assert not found.partial
    assert 40 <= found.requests - before.requests <= 20 + 10 * WHOLE_SECONDS + 1e-6


def test_one_that_answers_only_now_and_then_counts_whole():
    play = Play()
    play.look(a=document(0))
    for each in range(1, 100):
        play.look(a=document(20 * each), b=document(20 * each) if each % 3 == 0 else None)
    assert play.demand.requests == pytest.approx(2 * 20 * 99, rel=0.01)


def test_tokens_that_are_corrected_downwards_stand_until_they_have_caught_up():
    play = Play()
    play.look(a=document(100))
    assert play.look(a=document(101, tokens=9900)).tokens_in == 10_000
    assert play.look(a=document(102, tokens=10_050)).tokens_in == 10_050
    assert play.demand.requests == 102


def test_tokens_that_fall_under_the_same_name_count_from_there():
    play = Play()
    play.look(a=document(1000))
    assert play.look(a=document(1001, tokens=700)).tokens_in == 100_000
    assert play.look(a=document(1002, tokens=800)).tokens_in == 100_100


def test_requests_that_fall_are_doubted_and_so_the_router_is_silent():
    play = Play()
    play.look(a=document(1000), b=document(0))
    for requests in (990, 980, 970):
        found = play.look(a=document(requests, held=5), b=document(1))
        assert (found.requests, found.partial, found.held, play.ledger.doubted) == (1001, True, 0, {"a"})
    found = play.look(a=document(975, held=5), b=document(1))
    assert (found.requests, found.partial, found.held, play.ledger.doubted) == (1006, False, 5, frozenset())
    assert play.look(a=document(1), b=document(0)) is None, "nobody can be believed"


def test_what_no_router_can_count_is_not_counted():
    play = Play()
    play.look(a=document(10), b=document(10))
    found = play.look(a=document(1e9), b=document(10))
    assert (found.requests, found.partial) == (20, True)
    found = play.look(a=document(1e9 + 5), b=document(10))
    assert (found.requests, found.partial) == (25, False)


def test_a_router_that_does_not_serve_is_missed_for_a_while_only():
    play = Play()
    play.look(a=document(10), b=document(10))
    assert play.look(needed=["a"], a=document(11), b=None).partial
    for _ in range(29):
        play.look(needed=["a"], a=document(11), b=None)
    assert not play.demand.partial
    assert play.look(needed=["a"], a=document(11), b=document(10)).requests == 21


def test_one_that_was_never_read_and_does_not_serve_is_not_missed():
    play = Play()
    play.look(a=document(10))
    assert not play.look(needed=["a"], a=document(11), b=None).partial


def test_after_a_stretch_of_unknown_length_routers_count_from_where_they_are():
    play = Play()
    play.look(a=document(10), b=document(10))
    play.ledger = unsure(play.ledger)
    found = play.look(a=document(9000), b=None)
    assert (found.requests, found.partial) == (20, True)
    assert play.look(a=document(9001), b=document(7000)).requests == 21
    assert play.look(a=document(9001), b=document(7002)).requests == 23


STEPS = st.lists(st.sampled_from(["go", "go", "restart", "silent", "gone"]), min_size=1, max_size=40)


@settings(max_examples=50)
@given(st.dictionaries(st.sampled_from("abc"), STEPS, min_size=1), st.integers(0, 2**32))
def test_whatever_routers_do_it_never_decreases_and_never_exceeds_what_they_counted(plays, seed):
    play, chance, rates = Play(), random.Random(seed), 5
    counted, instance, total = dict.fromkeys(plays, 0), dict.fromkeys(plays, 0), 0
    pods, last = dict.fromkeys(plays, 0), (0.0,) * 5
    for step in range(max(map(len, plays.values()))):
        answers = {}
        for name, steps in plays.items():
            what = steps[step] if step < len(steps) else "gone"
            if what in ("restart", "gone"):
                counted[name], instance[name] = 0, instance[name] + 1
            pods[name] += what == "gone"  # the uid of a pod that is gone never comes back
            new = chance.randint(0, rates)
            counted[name] += new
            total += new
            if what != "gone":
                answers[f"{name}{pods[name]}"] = (
                    None if what == "silent" else document(counted[name], instance=str(instance[name]))
                )
        found = play.look(**answers)
        if found is not None:
            now = (found.requests, found.tokens_in, found.tokens_out, found.answers, found.pairs)
            assert all(a >= b for a, b in zip(now, last, strict=True))
            assert found.requests <= total + 1e-6
            assert found.partial == (None in answers.values())
            last = now


@settings(max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 9), st.booleans()), min_size=1, max_size=30), st.integers(0, 1000))
def test_restarts_alone_lose_and_double_nothing(looks, before):
    """What comes between the last look and a restart is not seen by anybody, so here nothing does."""
    play, count, instance, total = Play(), before, 0, before
    play.look(a=document(count, instance="0"))
    for new, restarts in looks:
        if restarts:
            count, instance = 0, instance + 1
        count += new
        total += new
        assert play.look(a=document(count, instance=str(instance))).requests == total


def test_one_process_counts_once_whatever_pods_lead_to_it():
    ledger, total = Ledger(), []
    said = [{"old": document(10), "new": document(10)}] * 2 + [{"new": document(12)}, {"new": document(13)}]
    for look, answers in enumerate(said):
        ledger, demand = take(ledger, once(answers, {"old"}), {"old"}, look * LOOK)
        total.append(demand.requests)
    assert total == [10, 10, 12, 13]


def test_a_process_answers_for_the_router_that_serves():
    said = {"ended": document(10), "serves": document(10), "silent": None}
    assert once(said, {"serves"}) == {"ended": None, "serves": document(10), "silent": None}
