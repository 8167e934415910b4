"""A deployment that scales itself, with real Envoy and simulated engines on a box. `make autoscaling` runs more."""

import pytest
from traffic.scaling.report import problems
from traffic.scaling.run import follow, scene
from traffic.scaling.shapes import Shape, steps
from traffic.scaling.world import autoscaling

pytestmark = pytest.mark.integration

STEP = Shape("step", steps((3, 0.4), (15, 4.0), (1, 0.4)), peak=2, end=1)


@pytest.mark.timeout(300)
async def test_replicas_follow_a_step_and_back_and_nothing_is_lost(tmp_path):
    async with scene(tmp_path, autoscaling(most=3)) as stage:
        row = await follow(stage, STEP)
        autoscaled = stage.watch.now.reason
    assert not problems(row, STEP), row
    assert row["sent"] > 40
    assert row["replicas"][0] == row["replicas"][-1] == 1
    assert autoscaled == "Following"
