"""The fair queue: order, room and conservation, in tables and over random histories."""

import math
import tracemalloc
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manta_runtime.router.picker.queue import Entry, FairQueue


def queue(*offers, size=100):
    """A queue of offers 'tenant' or ('tenant', {cost, weight, priority})."""
    found = FairQueue(size)
    for number, offer in enumerate(offers):
        name, options = offer if isinstance(offer, tuple) else (offer, {})
        found.offer(f"{name}{number}", name, options.pop("cost", 1), float(number), **options)
    return found


def drained(found):
    items = []
    while entry := found.take():
        items.append(entry.item)
    return items


@pytest.mark.parametrize(
    ("offers", "order"),
    [
        pytest.param(["a", "a", "a"], ["a0", "a1", "a2"], id="first come, first served"),
        pytest.param(["a", "a", "a", "b"], ["a0", "b3", "a1", "a2"], id="tenants take turns"),
        pytest.param(["a", "a", ("b", {"priority": 1})], ["b2", "a0", "a1"], id="priority first"),
        pytest.param([("a", {"cost": 30}), "a", "b", "b", "b"], ["a0", "b2", "b3", "b4", "a1"], id="large ones pay"),
        pytest.param(
            ["a", "a", "a", *[("b", {"weight": 3})] * 6],
            ["a0", "b3", "b4", "b5", "a1", "b6", "b7", "b8", "a2"],
            id="weights are shares",
        ),
    ],
)
def test_order(offers, order):
    assert drained(queue(*offers)) == order


def test_a_tenant_that_was_away_has_saved_nothing():
    found = queue(*["a"] * 50)
    for _ in range(40):
        found.take()
    for _ in range(3):
        found.offer("late", "b", 1, 100.0)
    assert [found.take().tenant for _ in range(6)].count("b") == 3
    assert found.take().tenant == "a"


@pytest.mark.parametrize(
    ("offers", "newcomer", "answer", "gone"),
    [
        pytest.param(["a"] * 4, ("a", {}), "queue_full", None, id="alone"),
        pytest.param(["a"] * 4, ("b", {}), None, "a3", id="the newest of who has too much gives way"),
        pytest.param(["a", "a", "b", "b"], ("a", {}), "queue_share_exceeded", None, id="beyond its share"),
        pytest.param(["a", "a", "b", "b"], ("c", {}), None, "b3", id="a third one"),
        pytest.param(["a", "a", "b", "c"], ("b", {}), "queue_share_exceeded", None, id="no more than the giver"),
        pytest.param(["a", "a", "b", "b"], ("a", {"weight": 3}), None, "b3", id="more, by its weight"),
        pytest.param(["a"] * 4, ("a", {"priority": 1}), None, "a3", id="a lower priority gives way"),
        pytest.param([("a", {"priority": 1})] * 4, ("b", {}), "queue_full", None, id="a higher one does not"),
    ],
)
def test_room(offers, newcomer, answer, gone):
    found = queue(*offers, size=4)
    name, options = newcomer
    entered, pushed = found.offer("new", name, 1, 9.0, **options)
    assert (entered if isinstance(entered, str) else None) == answer
    assert (pushed and pushed.item) == gone
    assert len(found) == 4


def test_none_waits_in_a_queue_without_places():
    assert FairQueue(0).offer("x", "a", 1, 0.0) == ("queue_full", None)


def test_those_whose_time_is_up_leave_in_order_of_arrival():
    found = queue("a", "b", "a")
    assert [entry.item for entry in found.expired(2.0)] == ["a0", "b1"]
    assert drained(found) == ["a2"]


def test_who_leaves_and_comes_again_is_behind_those_who_came_meanwhile():
    found = queue("c")
    first, _ = found.offer("a", "a", 1, 1.0)
    found.remove(first)
    found.offer("b", "b", 1, 2.0)
    found.offer("a again", "a", 1, 3.0)
    assert drained(found) == ["c0", "b", "a again"]


@pytest.mark.parametrize("waits", [0, 3])
def test_those_who_come_and_leave_while_nobody_is_served_leave_nothing_behind(waits):
    found = queue(*["a"] * waits)

    def come_and_go(times):
        for number in range(times):
            entry, _ = found.offer(number, f"t{number % 5}", 1, 100.0)
            found.remove(entry)

    come_and_go(1000)
    tracemalloc.start()
    try:
        come_and_go(1000)
        before, _ = tracemalloc.get_traced_memory()
        come_and_go(5000)
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 10_000
    assert len(drained(found)) == waits


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("offer"), st.sampled_from("abcd"), st.integers(1, 50), st.integers(0, 2)),
        st.tuples(st.just("take")),
        st.tuples(st.just("remove"), st.integers(0, 1000)),
        st.tuples(st.just("expire"), st.integers(1, 20), st.integers(1, 40)),
        st.tuples(st.just("set apart")),
    ),
    max_size=150,
)
WEIGHTS = {"a": 1, "b": 2, "c": 5, "d": 1}


@given(STEPS, st.integers(0, 12))
def test_nothing_is_lost_or_doubled(steps, size):
    found, waiting, order, apart = FairQueue(size), [], {}, 0
    for number, (step, *args) in enumerate(steps):
        if step == "offer":
            tenant, cost, priority = args
            entered, pushed = found.offer(number, tenant, cost, number, weight=WEIGHTS[tenant], priority=priority)
            if pushed is not None:
                waiting.remove(pushed)
                assert pushed.priority <= priority
            if isinstance(entered, Entry):
                waiting.append(entered)
        elif step == "take":
            entry = found.take()
            assert (entry is None) == (not waiting)
            if entry is not None:
                waiting.remove(entry)
                assert entry.priority == max([entry.priority, *(other.priority for other in waiting)])
                key = (entry.tenant, entry.priority)
                assert order.get(key, -1) < entry.item, "first come, first served within a tenant"
                order[key] = entry.item
        elif step == "remove" and waiting:
            entry = waiting.pop(args[0] % len(waiting))
            assert found.remove(entry)
            assert not found.remove(entry)
        elif step == "set apart":
            found.set_apart()
            apart = number
        elif step == "expire":
            late, late_apart = [number - arg for arg in args]
            gone = [entry for entry in waiting if entry.since < (late_apart if entry.since < apart else late)]
            assert sorted(entry.since for entry in found.expired(late, late_apart)) == [e.since for e in gone]
            waiting = [entry for entry in waiting if entry not in gone]
        assert found.oldest() == min((entry.since for entry in waiting), default=math.inf)
        assert len(found) == len(waiting) <= size
        assert found.waiting() == Counter(entry.tenant for entry in waiting)
    assert len(drained(found)) == len(waiting)


COSTS = st.lists(st.integers(1, 100), min_size=40, max_size=40)


@given(st.lists(st.tuples(COSTS, st.integers(1, 10)), min_size=2, max_size=5))
def test_two_that_always_wait_are_served_as_their_weights(tenants):
    """The bound of start-time fair queueing: apart by at most one largest entry each, by weight."""
    found = FairQueue(1000)
    for name, (costs, weight) in enumerate(tenants):
        for cost in costs:
            found.offer(cost, str(name), cost, 0.0, weight=weight)
    served = [0.0] * len(tenants)
    while all(found.waiting().get(str(name)) for name in range(len(tenants))):
        entry = found.take()
        served[int(entry.tenant)] += entry.cost / entry.weight
        bounds = [max(costs) / weight for costs, weight in tenants]
        for i, one in enumerate(served):
            for j, other in enumerate(served):
                assert abs(one - other) <= bounds[i] + bounds[j] + 1e-9


@given(st.lists(st.sampled_from("bc"), min_size=1, max_size=60))
def test_nobody_starves_within_a_priority(others):
    """However the others come, one that waits is served before any of them gets a second entry ahead of it."""
    found = queue("a")
    for name in others:
        found.offer(name, name, 1, 0.0)
    turns = [found.take().tenant for _ in range(min(3, len(found)))]
    assert "a" in turns
