"""Random and hostile specs, statuses and children: the pure core does not raise, the operator does not crash."""

import chaos_hostile
import pytest
from chaos_live import drawn, live
from chaos_scene import scene
from cluster_server import found_alone

pytestmark = [pytest.mark.integration, pytest.mark.timeout(360)]


def test_the_core_judges_whatever_comes():
    chaos_hostile.run(150)
    counted = chaos_hostile.counted
    assert min(counted[word] for word in ("admitted", "refused", "planned", "not planned")) > 15, counted


async def test_the_operator_says_what_it_cannot_do_and_lives(tmp_path):
    with found_alone(tmp_path / "server") as server:
        async with scene(tmp_path, "manta-hostile", server) as stage:
            stage.operator.start()
            counted = await live(stage, drawn(80, seed=7))
    assert counted["admitted"] > 10, counted
    assert counted["refused by the server"] > 5, counted
