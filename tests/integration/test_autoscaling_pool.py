"""A deployment that scales itself behind a gateway of somebody else's: mode inference-pool, on a whole box.

The gateway is a real Envoy as Envoy AI Gateway sets it up: it knows no engines, and goes where the picker says. So a
replica that has just come, or has woken the deployment from zero, is reached at once.
"""

import importlib.util
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from traffic.scaling import world as slow
from traffic.scaling.report import problems
from traffic.scaling.run import Scene, follow
from traffic.scaling.shapes import Shape, steps
from traffic.scaling.watch import Watch
from traffic.scaling.zero import wake
from traffic.world import NAME, box


def _load(name):
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


fakes, gateway = _load("router_fakes"), _load("epp_gateway")
MODES = ("FULL_DUPLEX_STREAMED", "FULL_DUPLEX_STREAMED")
STEP = Shape("step behind a gateway", steps((2, 0.4), (12, 4.0), (1, 0.4)), peak=2, end=1)
POOL = {"mode": "inference-pool", "retries": 0}

pytestmark = pytest.mark.integration


@asynccontextmanager
async def behind_a_gateway(folder, autoscaling):
    """The scene of the autoscaling test, its load by way of the gateway."""
    changes = slow.changes(str(folder / "journal"), autoscaling, router=POOL)
    async with box(folder, 1, changes) as world, Watch(world) as watch:
        service = await world.api.find("Service", f"{NAME}-epp")
        picker = (service["spec"]["clusterIP"], 9005)
        envoy = await gateway.start(folder, "gateway", gateway.configuration(8081, fakes.POD, None, picker, MODES))
        try:
            yield Scene(world, watch, f"http://{fakes.POD}:8081")
        finally:
            envoy.terminate()
            await envoy.wait()


@pytest.mark.timeout(400)
async def test_replicas_follow_a_step_down_to_zero_and_come_back_for_one_request(tmp_path):
    zero = {"scaleToZero": {"afterSeconds": 10, "holdSeconds": 300}}
    soon = {"stabilisationSeconds": 5, "downSeconds": 5}
    async with behind_a_gateway(tmp_path, slow.autoscaling(least=0, most=2, behaviour=soon, **zero)) as scene:
        row = await follow(scene, STEP)
        assert not problems(row | {"reaction_s": None}, STEP), row
        assert row["sent"] > 20
        woken = await wake(scene)
    assert (woken["lost"], woken["ok"]) == (0, 1), woken
    assert woken["first_token_beyond_start_s"] < 10, woken
