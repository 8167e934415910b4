"""The store's bound, whatever is done to it; that the bound is real memory; and who is evicted."""

import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from manta_runtime.router.cache.copies import Copy
from manta_runtime.router.cache.store import ENTRY_BYTES, TENANT_BYTES, Entry, Store

MAX = 1 << 16


def name(number):
    return number.to_bytes(32)


def entry(size, now=0.0):
    return Entry(bytes(size), "application/json", now)


class Life(RuleBasedStateMachine):
    """Everything that can be done to a store, in any order."""

    def __init__(self):
        super().__init__()
        self.store, self.now, self.copies, self.model = Store(MAX, ttl=50), 0.0, [], {}

    @rule(tenant=st.sampled_from("abc"), number=st.integers(0, 20), size=st.integers(0, MAX // 6))
    def put(self, tenant, number, size):
        if self.store.put(tenant, name(number), entry(size, self.now)):
            self.model[tenant, number] = size, self.now
        else:
            self.model.pop((tenant, number), None)

    @rule(tenant=st.sampled_from("abc"), number=st.integers(0, 20), seconds=st.integers(0, 20))
    def get(self, tenant, number, seconds):
        self.now += seconds
        found = self.store.get(tenant, name(number), self.now)
        if found is not None:
            assert (len(found.body), found.kept_at) == self.model[tenant, number]
            assert self.now - found.kept_at < 50

    @rule(stream=st.booleans())
    def begin(self, stream):
        kind = "text/event-stream" if stream else "application/json"
        self.copies.append(Copy(self.store, "/v1/completions", kind, hide_usage=False))

    @rule(which=st.integers(0, 5), size=st.integers(0, 3000), end=st.booleans())
    def grow(self, which, size, end):
        if which < len(self.copies):
            self.copies[which].add(bytes(size) + (b"\n\n" if end else b""))

    @rule(which=st.integers(0, 5))
    def close(self, which):
        if which < len(self.copies):
            self.copies.pop(which).close()

    @invariant()
    def bounded(self):
        assert 0 <= self.store.size <= MAX
        shares = self.store._shares.values()
        sizes = [len(each.body) for share in shares for each in share.entries.values()]
        kept = sum(sizes) + len(sizes) * (32 + ENTRY_BYTES) + len(shares) * TENANT_BYTES
        assert self.store.size - kept == sum(copy._reserved for copy in self.copies)
        assert max(sizes, default=0) <= MAX // 8
        if not self.copies and not sizes:
            assert self.store.size == 0


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=40, stateful_step_count=40)


@pytest.mark.parametrize("body", [0, 100, 4000])
def test_the_bound_is_memory(body):
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        store = Store(4 << 20, ttl=50)
        for number in range(8000):
            store.put("t", name(number), entry(body, float(number)))
        used = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert store.evicted
    assert store.size > 0.95 * store.max_bytes
    assert 0.2 * store.max_bytes < used <= store.max_bytes


def test_many_tenants_are_counted_too():
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        store = Store(1 << 20, ttl=50)
        for number in range(2000):
            store.put(f"tenant-{number}", name(number), entry(10))
        used = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert used <= store.max_bytes


def test_copies_in_the_making_are_memory_too():
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        store = Store(4 << 20, ttl=50)
        copies = [Copy(store, "/v1/completions", "text/event-stream", hide_usage=False) for _ in range(50)]
        for number in range(20_000):
            copies[number % 50].add(b"data: %d\n\n" % number)
        used = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert used <= store.size <= store.max_bytes


def test_the_longest_unused_goes_first():
    store = Store(MAX, ttl=50)
    for number in range(7):
        assert store.put("t", name(number), entry(7900 - ENTRY_BYTES))
    assert store.get("t", name(0), 1.0)
    for number in range(7, 9):
        assert store.put("t", name(number), entry(7900 - ENTRY_BYTES))
    assert [number for number in range(9) if store.get("t", name(number), 1.0) is None] == [1]
    assert store.evicted == 1


def test_who_asks_for_much_pushes_out_only_his_own():
    store = Store(MAX, ttl=50)
    assert store.put("quiet", name(0), entry(5000))
    for number in range(1000):
        store.put("busy", name(number), entry(5000))
    assert store.get("quiet", name(0), 1.0)


@given(st.integers(1 << 16, 1 << 24))
def test_one_entry_is_at_most_an_eighth(max_bytes):
    store = Store(max_bytes, ttl=50)
    assert not store.put("t", name(0), entry(max_bytes // 8 - ENTRY_BYTES - 31))
    assert store.put("t", name(0), entry(max_bytes // 8 - ENTRY_BYTES - 32))
    assert not store.put("t", name(0), entry(max_bytes // 8)), "and it does not leave the old one in its place"
    assert (store.get("t", name(0), 0.0), store.size, len(store)) == (None, 0, 0)


def test_too_old_is_gone_and_its_room_free():
    store = Store(MAX, ttl=50)
    store.put("t", name(0), entry(100))
    assert store.get("t", name(0), 10.0, max_age=5) is None
    assert store.get("t", name(0), 49.9, max_age=100)
    assert store.get("t", name(0), 50.0) is None
    assert store.size == 0
