"""A deployment that scales itself, with real Envoy and simulated engines on a box. `make autoscaling` runs more."""

import pytest
from traffic.scaling.report import problems
from traffic.scaling.run import follow, scene
from traffic.scaling.shapes import Shape, steps
from traffic.scaling.world import autoscaling

pytestmark = pytest.mark.integration

STEP = Shape("step", steps((2, 0.4), (12, 4.0), (1, 0.4)), peak=2, end=1)
REACTION_SECONDS = 20
"""5 s are meant, as `make autoscaling` measures; these tests run four at a time."""


@pytest.mark.timeout(300)
async def test_replicas_follow_a_step_and_back_and_nothing_is_lost(tmp_path):
    soon = {"stabilisationSeconds": 5, "downSeconds": 5}
    async with scene(tmp_path, autoscaling(most=2, behaviour=soon)) as stage:
        row = await follow(stage, STEP)
        autoscaled = stage.watch.now.reason
    assert not problems(row | {"reaction_s": None}, STEP), row
    assert (row["reaction_s"] or 0) < REACTION_SECONDS, row
    assert row["sent"] > 20
    assert row["replicas"][0] == row["replicas"][-1] == 1
    assert autoscaled == "Following"
