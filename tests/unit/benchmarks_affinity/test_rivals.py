"""The other projects' policies decide as their source does."""

import pytest
from affinity.policies.base import Fleet
from affinity.policies.cache_aware import CacheAware
from affinity.policies.chwbl import Chwbl
from affinity.policies.radix_tree import RadixTree
from affinity.policies.simple import LeastLoad
from affinity.policies.xxhash64 import xxhash64
from affinity.traces import Ask

FLEET = Fleet(engines=4, kv_tokens=400_000, seed=1)


def ask(*blocks, index=0):
    return Ask(index, 0.0, 512 * len(blocks), 10, blocks)


@pytest.mark.parametrize(
    ("data", "digest"),
    [
        (b"", 0xEF46DB3751D8E999),
        (b"a", 0xD24EC4F1A98C6E5B),
        (b"abc", 0x44BC2CF5AD770999),
        (b"Nobody inspects the spammish repetition", 0xFBCEA83C8A378BF1),
    ],
)
def test_xxhash64_of_known_inputs(data, digest):
    assert xxhash64(data) == digest


def test_chwbl_keeps_a_prefix_until_its_engine_has_more_than_its_share():
    policy = Chwbl(FLEET)
    home = policy.choose(ask(1, 2), 0.0)
    assert policy.choose(ask(1, 3), 0.0) == home
    # (total + 1) / engines x 1.25: with 4 in flight at home the bound is 1.56, and with 1 everywhere 1.56 again.
    policy.in_flight[home] = 4
    assert policy.choose(ask(1, 3), 0.0) != home
    policy.in_flight = [1] * 4
    assert policy.choose(ask(1, 3), 0.0) == home


def test_chwbl_spreads_prefixes_evenly_enough():
    policy = Chwbl(FLEET)
    counts = [0] * 4
    for block in range(2000):
        counts[policy.choose(ask(block), 0.0)] += 1
    assert min(counts) > 380


def test_cache_aware_follows_the_longest_prefix_and_else_the_first_least_loaded():
    policy = CacheAware(FLEET)
    assert policy.choose(ask(1, 2, 3), 0.0) == 0
    policy.in_flight = [1, 0, 0, 0]
    assert policy.choose(ask(9), 0.0) == 1, "nothing known: the first of the least loaded"
    assert policy.choose(ask(1, 2, 4), 0.0) == 0, "two thirds known"
    assert policy.choose(ask(1, 5, 6, 7), 0.0) == 1, "a quarter is below the threshold"


def test_cache_aware_gives_up_affinity_when_out_of_balance():
    policy = CacheAware(FLEET)
    policy.choose(ask(1, 2), 0.0)
    policy.in_flight = [64, 0, 0, 0]
    assert policy.choose(ask(1, 2), 0.0) == 0, "64 more is not yet out of balance"
    policy.in_flight = [65, 0, 0, 0]
    assert policy.choose(ask(1, 2), 0.0) == 1


def test_least_load_takes_one_of_the_least():
    policy = LeastLoad(FLEET)
    policy.in_flight = [2, 1, 3, 1]
    assert {policy.choose(ask(1), 0.0) for _ in range(50)} == {1, 3}


def text(*blocks):
    return tuple((block, 10) for block in blocks)


def test_radix_tree_matches_and_splits():
    tree = RadixTree(2)
    tree.insert(text(1, 2, 3), 0)
    tree.insert(text(1, 2, 4), 1)
    assert tree.match(text(1, 2, 3, 9)) == (0, 30)
    assert tree.match(text(1, 2, 4)) == (1, 30)
    assert tree.match(text(1, 2)) == (0, 20), "the worker that made the node"
    assert tree.match(text(7)) == (0, 0)
    assert tree.characters == [30, 30]


def test_radix_tree_forgets_the_oldest_leaves_first():
    tree = RadixTree(1)
    for start in (10, 20, 30):
        tree.insert(text(1, start, start + 1), 0)
    tree.insert(text(1, 10, 11), 0)
    assert tree.characters == [70]
    tree.evict(50)
    assert tree.characters == [50]
    assert tree.match(text(1, 20, 21)) == (0, 10)
    assert tree.match(text(1, 10, 11)) == (0, 30)
