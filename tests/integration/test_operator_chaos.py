"""kill -9 of the operator at random points: a short series of what `make chaos KILLS=200` does."""

import os
import random

import chaos_kills
import pytest

pytestmark = [pytest.mark.integration, pytest.mark.timeout(480)]
KILLS = 12


async def test_no_kill_leaves_a_trace(tmp_path, capsys):
    seed = int(os.environ.get("SEED") or random.SystemRandom().randrange(1 << 32))
    try:
        toll = await chaos_kills.run(KILLS, seed, tmp_path)
    except AssertionError as error:
        raise AssertionError(f"with SEED={seed}: {error}") from error
    assert sum(toll.deaths.values()) == KILLS
    assert f"seed {seed}" in capsys.readouterr().out
