"""Groups whose pods start in random order, with launchers that die meanwhile: every group serves a token.

The fast form of `make starts`: the launchers are real, the simulator stands in for vLLM and Ray.
"""

import asyncio
import os
import random
import tempfile
from pathlib import Path

import pytest
from faults.pods import Recipe
from faults.starts import draw, start

pytestmark = pytest.mark.integration

RECIPE = Recipe(
    ("--model=org/tiny", "--served-model-name=tiny", "--max-model-len=1024", "--simulate-startup-seconds=0"),
    {"MANTA_ENGINE": "simulate"},
    startup_seconds=120,
)
COUNT = 20
AT_ONCE = 4
LONGEST_DELAY = 2.0


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("count", "mishaps"),
    [
        pytest.param(COUNT, [""], id="in order or not"),
        pytest.param(4, ["worker dies"], id="worker dies and comes back"),
        pytest.param(4, ["head restarts"], id="head restarts while its worker waits"),
    ],
)
async def test_every_group_serves_a_token(count, mishaps):
    seed = int(os.environ.get("SEED") or random.SystemRandom().randrange(1 << 32))
    places = asyncio.Semaphore(AT_ONCE)

    async def one(folder: Path, plan):
        async with places:
            return await start(folder, RECIPE, plan)

    # Ray's sockets, and so the launcher, want a short path.
    with tempfile.TemporaryDirectory(prefix="starts-") as folder:
        plans = draw(random.Random(seed), count, LONGEST_DELAY, mishaps)
        found = await asyncio.gather(*(one(Path(folder) / str(number), plan) for number, plan in enumerate(plans)))
    for each in found:
        assert each.seconds is not None, f"SEED={seed}: {each}"
        assert not each.left, f"SEED={seed}: {each}"
        if each.plan.mishap:
            assert sum(each.launchers) > 2, f"SEED={seed}: nothing was started again: {each}"
        else:
            assert each.launchers == (1, 1), f"SEED={seed}: {each}"
