"""The operator's own life: killed, ended, cut off from its API server. The world is in operator_world.py."""

import asyncio

import pytest
from operator_world import RESYNC_SECONDS, World

from manta_operator.api.crd import custom_resource_definition

pytestmark = pytest.mark.integration


@pytest.fixture
async def world(tmp_path):
    """A cluster with one served deployment, `demo`, of two replicas."""
    world = World(tmp_path / "world")
    try:
        await world.start()
        world.make("demo", replicas=2)
        await world.serving("demo")
        yield world
    finally:
        await world.stop()


async def test_a_killed_operator_adopts_what_it_finds_and_changes_nothing(world):
    before = await world.still("demo")
    await world.kill_operator()
    world.start_operator()
    await world.until("it judges again", lambda: world.log.count("each replica is") == 2)
    await asyncio.sleep(RESYNC_SECONDS + 1)
    assert world.versions("demo") == before


async def test_what_happened_while_it_was_down_is_caught_up_with(world):
    await world.kill_operator()
    world.change("demo", replicas=1)
    world.cluster.delete("Service", "default", "demo")
    world.make("late")
    world.start_operator()
    await world.serving("demo")
    await world.until("one replica is left", lambda: len(world.groups("demo")) == 1)
    assert world.cluster.find("Service", "default", "demo")
    await world.serving("late")


async def test_killed_in_the_middle_of_a_rollout_it_goes_on(world):
    old = world.groups("demo")
    world.hold.add("demo-")
    world.change("demo", engine={"maxModelLen": 512})
    await world.until("a new group stands beside the old ones", lambda: len(world.groups("demo")) == 3)
    await world.kill_operator()
    world.hold.discard("demo-")
    world.start_operator()
    await world.serving("demo")
    assert len(world.groups("demo")) == 2
    assert not set(old) & set(world.groups("demo"))


async def test_it_ends_within_seconds_and_without_a_word_of_trouble(world):
    code, seconds = await world.end_operator()
    assert (code, seconds < 20) == (0, True), f"exit code {code} after {seconds:.1f} s"
    assert "Traceback" not in world.log
    assert "did not exit" not in world.log


async def test_it_outlives_its_api_server(world):
    before = await world.still("demo")
    await world.vanish()
    await asyncio.sleep(2 * RESYNC_SECONDS)
    await world.serve()
    await asyncio.sleep(RESYNC_SECONDS)
    assert world.operator_runs
    assert set(world.versions("demo")) == set(before)
    world.change("demo", replicas=3)
    await world.until("it acts again", lambda: len(world.groups("demo")) == 3)
    await world.serving("demo")


async def test_one_line_of_the_log_has_one_format_and_is_said_once(world):
    lines = world.log.splitlines()
    assert len(lines) == len(set(lines))
    assert all(line[:3] == "202" for line in lines), lines
    assert all(" manta_operator." in line for line in lines), lines


async def test_started_before_its_api_server_it_waits_for_it(world):
    await world.kill_operator()
    await world.vanish()
    world.start_operator()
    await asyncio.sleep(3)
    await world.serve()
    world.change("demo", replicas=1)
    await world.until("it acts", lambda: len(world.groups("demo")) == 1)
    assert world.operator_runs
    assert "Traceback" not in world.log


async def test_started_before_its_kind_exists_it_waits_for_it(tmp_path):
    world = World(tmp_path / "world", with_kind=False)
    try:
        await world.start()
        await asyncio.sleep(2)
        world.install()
        world.make("demo")
        await world.serving("demo")
    finally:
        await world.stop()


async def test_with_a_crd_of_an_older_version_it_waits_until_that_is_applied(tmp_path):
    crd = custom_resource_definition()
    status = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"]
    del status["properties"]["fit"]["properties"]["predicted"]
    world = World(tmp_path / "world", with_kind=False)
    try:
        world.cluster.create(crd)
        await world.start()
        await world.until("it says so", lambda: "has no status.fit.predicted" in world.log)
        world.make("demo")
        stored = world.cluster.get("CustomResourceDefinition", None, crd["metadata"]["name"])
        world.cluster.update({**stored, "spec": custom_resource_definition()["spec"]})
        await world.serving("demo")
    finally:
        await world.stop()
