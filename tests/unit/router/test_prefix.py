"""The prefix index against a naive model, and its bounds."""

import sys
import time
from collections import OrderedDict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manta_runtime.router.picker.prefix import _SLACK, PrefixIndex
from manta_runtime.router.picker.prompts import CHARS_BEFORE

NAMES = ("a", "b", "c")


def chain(path):
    """Blocks of a prompt: each name says everything before it, as chained hashes do."""
    return tuple(hash(tuple(path[: end + 1])) for end in range(len(path)))


class Naive:
    """One ordered dictionary per replica, asked block by block."""

    def __init__(self):
        self.held = {}

    def insert(self, name, blocks):
        held = self.held.setdefault(name, OrderedDict())
        for place in reversed(range(len(blocks))):
            held[blocks[place]] = None
            held.move_to_end(blocks[place])

    def match(self, blocks):
        found = {}
        for name, held in self.held.items():
            count = 0
            while count < len(blocks) and blocks[count] in held:
                count += 1
            if count:
                found[name] = count
        return found


PATHS = st.lists(st.integers(0, 2), max_size=7)
STEPS = st.one_of(
    st.tuples(st.just("insert"), st.sampled_from(NAMES), PATHS),
    st.tuples(st.just("forget"), st.sampled_from(NAMES), st.none()),
    st.tuples(st.just("keep"), st.sampled_from(NAMES), st.none()),
)


@settings(max_examples=150)
@given(st.lists(STEPS, max_size=30), st.lists(PATHS, min_size=1, max_size=6))
def test_without_pressure_it_is_the_naive_model(steps, asked):
    index, naive = PrefixIndex(), Naive()
    for what, name, path in steps:
        if what == "insert":
            index.insert(name, chain(path))
            naive.insert(name, chain(path))
        elif what == "forget":
            index.forget(name)
            naive.held.pop(name, None)
        else:
            index.keep_only([name])
            naive.held = {kept: held for kept, held in naive.held.items() if kept == name}
    for path in asked:
        assert index.match(chain(path)) == naive.match(chain(path))


@settings(max_examples=100)
@given(
    st.lists(
        st.tuples(st.sampled_from(NAMES), st.lists(st.integers(0, 3), max_size=9), st.integers(0, 600)), max_size=60
    )
)
def test_under_pressure_it_stays_within_its_size_and_forgets_ends_first(steps):
    index = PrefixIndex()
    tokens = 700
    for name in NAMES:
        index.resize(name, tokens)
    for name, path, more in steps:
        index.insert(name, chain(path), more)
        for blocks, chars in index.sizes().values():
            assert chars <= tokens * 4 * _SLACK
            assert blocks <= chars
        # A block is never held without those before it, so one walk answers for all.
        for holder, cache in index._caches.items():
            for _, other, _ in steps:
                blocks = chain(other)
                held = [block in cache.held for block in blocks]
                assert held == sorted(held, reverse=True)
                assert index.match(blocks).get(holder, 0) == sum(held)
        every = {
            block for cache in index._caches.values() for block in cache.held if block >= 0 or block in index._holders
        }
        assert set(index._holders) == every - set(range(-index._ghosts))


def prompt(number, blocks=4):
    return chain([number, *range(blocks - 1)])


def test_the_least_recently_used_goes_first():
    index = PrefixIndex()
    index.resize("a", 2048)  # room for nine prompts of four small blocks, with the slack
    for number in range(9):
        index.insert("a", prompt(number))
    index.insert("a", prompt(0))
    for number in range(20, 24):
        index.insert("a", prompt(number))
    assert index.match(prompt(0)) == {"a": 4}
    assert index.match(prompt(1)) == {}
    assert index.match(prompt(23)) == {"a": 4}


def test_answers_take_room_too():
    index = PrefixIndex()
    index.resize("a", 1000)
    index.insert("a", prompt(1))
    index.insert("a", prompt(2), more_chars=3400)
    assert index.match(prompt(1)) == {}
    assert index.match(prompt(2)) == {"a": 4}


def test_what_no_engine_could_hold_changes_nothing():
    index = PrefixIndex()
    index.resize("a", 1000)
    index.insert("a", prompt(1))
    index.insert("a", chain(range(100)))
    index.insert("a", prompt(3), more_chars=1_000_000)
    assert index.match(prompt(1)) == {"a": 4}
    assert index.match(chain(range(100))) == {}


@pytest.mark.parametrize("chars_per_token", [2.0, 8.0])
def test_the_size_follows_what_a_token_is(chars_per_token):
    index = PrefixIndex()
    index.chars_per_token = chars_per_token
    index.resize("a", 10_000)
    for number in range(1000):
        index.insert("a", prompt(number))
    assert index.sizes()["a"][1] == pytest.approx(10_000 * chars_per_token * _SLACK, rel=0.06)


def test_a_smaller_cache_forgets_at_once():
    index = PrefixIndex()
    for number in range(100):
        index.insert("a", prompt(number))
    index.resize("a", 1000)
    assert index.sizes()["a"][1] <= 1000 * 4 * _SLACK


def test_replicas_come_and_go_without_leaving_anything():
    index = PrefixIndex()
    for number in range(300):
        index.insert(f"r{number}", prompt(number % 7))
        index.keep_only([f"r{number}", f"r{number - 1}"])
    assert set(index.sizes()) == {"r299", "r298"}
    index.keep_only([])
    assert not index._holders
    assert not index._names


def test_memory_is_bounded_for_a_hundred_replicas_of_a_million_tokens():
    index = PrefixIndex(max_entries=20_000)  # a fiftieth of what is allowed, for the sake of time
    for replica in range(100):
        index.resize(f"r{replica}", 1_000_000)
    for number in range(30_000):
        index.insert(f"r{number % 100}", chain([number, 0, 1]))
    held = sum(blocks for blocks, _ in index.sizes().values())
    assert held <= 20_000
    assert len(index._holders) <= held
    assert sys.getsizeof(index._holders) < 2_000_000


def test_a_long_prompt_costs_little():
    index = PrefixIndex()
    index.resize("a", 1_000_000)
    blocks = chain(range(len(CHARS_BEFORE) - 1))
    began = time.process_time()
    index.insert("a", blocks)
    assert index.match(blocks) == {"a": len(blocks)}
    assert time.process_time() - began < 0.05
