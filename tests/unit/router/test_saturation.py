"""When a replica has enough."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manta_runtime.router.picker.saturation import UNKNOWN, Learned, after_look, allowance, full_at, limit

COUNT = st.integers(0, 5000)
LOOKS = st.lists(st.tuples(COUNT, COUNT, st.sampled_from([0.1, 0.95])), max_size=30)


def learned(*looks):
    found = UNKNOWN
    for look in looks:
        found = after_look(found, *look)
    return found


@pytest.mark.parametrize(
    ("looks", "capacity"),
    [
        pytest.param([(8, 3, 1.0)], 0, id="a burst is no queue yet"),
        pytest.param([(8, 3, 1.0), (8, 2, 1.0)], 8, id="queued twice, its cache full: it runs all it can"),
        pytest.param([(8, 3, 0.5), (8, 2, 0.5), (8, 2, 0.5)], 0, id="busy with prefill: it will run more"),
        pytest.param([(64, 3, 0.5), (64, 2, 0.5), (64, 9, 0.5)], 64, id="always the same number: all its places"),
        pytest.param([(64, 3, 0.5), (63, 2, 0.5), (64, 9, 0.5)], 0, id="not always the same"),
        pytest.param([(8, 3, 1.0), (8, 2, 1.0), (6, 1, 1.0)], 6, id="long prompts: it runs fewer"),
        pytest.param([(8, 3, 1.0), (8, 2, 1.0), (6, 1, 0.8)], 8, id="a little room: still believed"),
        pytest.param([(8, 3, 1.0), (8, 2, 1.0), (8, 0, 1.0)], 16, id="it took all it was given: more may fit"),
        pytest.param([(8, 3, 1.0), (8, 2, 1.0), *[(9, 0, 0.1)] * 8], 0, id="none waits for long: forgotten"),
        pytest.param([(8, 3, 1.0), (8, 2, 1.0), (0, 0, 0.0)], 0, id="idle: nothing is believed"),
        pytest.param([(0, 9, 1.0), (0, 9, 1.0)], 0, id="about to start"),
    ],
)
def test_capacity(looks, capacity):
    assert learned(*looks).capacity == capacity


@pytest.mark.parametrize(("capacity", "max_num_seqs", "most"), [(0, 0, 0), (8, 0, 8), (0, 4, 4), (8, 4, 4), (2, 4, 2)])
def test_limit(capacity, max_num_seqs, most):
    assert limit(Learned(capacity), max_num_seqs) == most


@pytest.mark.parametrize(
    ("most", "rate", "more"), [(1, 0.0, 1), (4, 0.0, 1), (256, 0.0, 64), (8, 30.0, 4), (8, 1000.0, 8)]
)
def test_allowance(most, rate, more):
    assert allowance(most, rate) == more
    assert most + more - 1 < full_at(most, rate)
    assert most + more >= full_at(most, rate)


@given(LOOKS, COUNT, st.floats(0, 1e4))
def test_an_idle_engine_is_never_saturated(looks, max_num_seqs, rate):
    idle = learned(*looks, (0, 0, 0.0))
    assert full_at(limit(idle, max_num_seqs), rate) > 0
    assert limit(idle, 0) == 0, "one that idles may be given anything when nobody says how much it runs"


@given(LOOKS, COUNT, st.floats(0, 1e4))
def test_a_saturated_replica_never_runs_dry_between_looks(looks, max_num_seqs, rate):
    """It is given all that it runs, and at least one that waits, and no more than twice that."""
    most = limit(learned(*looks), max_num_seqs)
    if most:
        assert most < full_at(most, rate)
        assert 2 * most >= full_at(most, rate)


@given(st.integers(1, 900), st.integers(1, 900))
def test_a_capacity_learned_too_low_is_found_again(low, real):
    """An engine that is kept as full as we allow shows its real capacity within a few looks."""
    state = Learned(low, looks=2)
    for _ in range(30):
        load = state.capacity + allowance(state.capacity, 0.0) if state.capacity else real
        state = after_look(state, min(load, real), max(0, load - real), 1.0)
        if state.capacity >= real or state.capacity == 0:
            return
    pytest.fail(f"{state} of {real}")
