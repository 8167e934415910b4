"""The pure core and its ledger: who is picked, and what counts as load."""

import pytest

from manta_runtime.router.membership import Endpoint
from manta_runtime.router.picker.core import POLICIES, Candidate, choose
from manta_runtime.router.picker.ledger import SETTLED_SECONDS, SUSPECT_SECONDS, Ledger

LEAST_LOAD = POLICIES["least-load"]
PODS = [Endpoint(name, f"10.0.0.{number}:8000", str(number), usable=True) for number, name in enumerate("ab")]


def candidate(name, load=0, last=0, suspect=False):
    return Candidate(name, f"{name}:8000", load, last, suspect)


@pytest.mark.parametrize(
    ("candidates", "chosen"),
    [
        pytest.param([], None, id="nobody"),
        pytest.param([candidate("a", 2), candidate("b", 1)], "b", id="fewest in flight"),
        pytest.param([candidate("a", 1, last=5), candidate("b", 1, last=4)], "b", id="tie: least recently picked"),
        pytest.param([candidate("a", 0, suspect=True), candidate("b", 9)], "b", id="suspects are left out"),
        pytest.param([candidate("a", 3, suspect=True), candidate("b", 2, suspect=True)], "b", id="all suspect: try"),
    ],
)
def test_choose(candidates, chosen):
    found = choose(LEAST_LOAD, candidates)
    assert (found and found.replica) == chosen


def loads(ledger, now=0.0):
    return {c.replica: c.load for c in ledger.candidates(PODS, now)}


def picked(*requests, now=0.0, replica="a"):
    ledger = Ledger()
    ledger.candidates(PODS, now)
    for request in requests:
        ledger.picked(replica, request, now)
    return ledger


def test_a_pick_counts_until_its_request_ends():
    ledger = picked("r1", "r2")
    assert loads(ledger) == {"a": 2, "b": 0}
    ledger.ended("r1", "-", 1.0)
    ledger.ended("r1", "-", 1.0)
    ledger.ended("of nobody", "-", 1.0)
    assert loads(ledger) == {"a": 1, "b": 0}


def test_requests_of_other_routers_count():
    ledger = picked("r1")
    ledger.observe("a", 4, asked_at=1.0)
    ledger.observe("b", 2, asked_at=1.0)
    assert loads(ledger) == {"a": 4, "b": 2}
    ledger.ended("r1", "-", 2.0)
    assert loads(ledger) == {"a": 3, "b": 2}


def test_a_pick_the_engine_does_not_know_is_forgotten_once_it_is_old():
    ledger = picked("lost")
    ledger.observe("a", 0, asked_at=SETTLED_SECONDS - 1)
    assert loads(ledger)["a"] == 1
    ledger.observe("a", 0, asked_at=SETTLED_SECONDS + 1)
    assert loads(ledger)["a"] == 0


@pytest.mark.parametrize(
    ("flags", "suspect"), [("UF", True), ("UF,URX", True), ("UC", True), ("-", False), ("DC", False)]
)
def test_a_failed_connection_makes_a_replica_suspect_for_a_moment(flags, suspect):
    ledger = picked("r1")
    ledger.ended("r1", flags, 10.0)
    assert ledger.candidates(PODS, 10.1)[0].suspect is suspect
    assert ledger.candidates(PODS, 10.1 + SUSPECT_SECONDS)[0].suspect is False


def test_when_envoy_goes_its_requests_go():
    ledger = picked("r1", "r2")
    ledger.forget_requests()
    assert loads(ledger) == {"a": 0, "b": 0}


def test_accounts_of_removed_replicas_go():
    ledger = picked("r1")
    ledger.keep_only(["b"])
    assert ledger.in_flight() == {"b": 0}
    ledger.ended("r1", "UF", 1.0)
    assert loads(ledger) == {"a": 0, "b": 0}


def test_the_operator_is_told_our_own_load_of_every_group():
    ledger = Ledger()
    ledger.candidates([Endpoint("demo-abc-0-0", "10.0.0.1:8000", "0", usable=True)], 0.0)
    for request in ("r1", "r2"):
        ledger.picked("demo-abc-0-0", request, 0.0)
    ledger.observe("demo-abc-0-0", 7, asked_at=9.0)
    assert ledger.by_group(["demo-abc-0-0", "demo-abc-11-0"]) == {"demo-abc-0": 2, "demo-abc-11": 0}
