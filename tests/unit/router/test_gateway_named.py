"""How many replicas a gateway is named for a request: as many as it may try."""

import pytest
from picker_world import World


@pytest.mark.parametrize("retries", [0, 1, 2])
async def test_as_many_more_as_there_may_be_retries(tmp_path, retries):
    """With 0 one alone: those with an ORIGINAL_DST cluster, such as Envoy AI Gateway, answer 503 to a list."""
    some = World(tmp_path, f"mode: inference-pool, retries: {retries}")
    some.replicas("a", "b", "c", "d")
    assert len(some.ask().endpoints) == 1 + retries


async def test_envoy_is_named_all_whatever_it_may_try(tmp_path):
    some = World(tmp_path, "retries: 0")
    some.replicas("a", "b", "c", "d")
    assert len(some.ask().endpoints) == 3
