"""Every scenario of `make autoscaling` once, on a box of its own: real Envoy, operator, launcher; simulated engines."""

import asyncio

import pytest
from running import only_all
from traffic.scaling.run import scene
from traffic.scaling.scenarios import SCENARIOS, prepare
from traffic.scaling.world import autoscaling

pytestmark = [only_all, pytest.mark.timeout(2400)]


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    """The row of each scenario by its name."""

    async def run():
        found = {}
        async with scene(tmp_path_factory.mktemp("autoscaling"), autoscaling()) as stage:
            for scenario in SCENARIOS:
                await prepare(stage, scenario)
                found[scenario.name] = await scenario.run(stage)
        return found

    return asyncio.run(run())


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_replicas_follow_and_nothing_is_lost(rows, scenario):
    row = rows[scenario.name]
    assert not scenario.problems(row), row


def test_a_burst_at_zero_is_answered_or_refused_at_once(rows):
    """Two routers of 200 places: of 500 requests at least 400 wait and are answered, the others are told at once."""
    row = rows["burst"]
    assert (row["sent"], row["ok"] + row["refused"]) == (500, 500)
    assert row["ok"] >= 200
    assert row["refused"] > 0
    assert row["slowest_refusal_s"] < 30
